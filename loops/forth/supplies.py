"""Supplies, batteries and thermal zones as /sys tells of them; what is not there is None."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlsrt.loops.forth.policy_rules import Sample
from tlsrt.loops.sampling.procfs import names, read_int, read_text, scaled

_MAINS = ("Mains", "USB", "Wireless")  # Documentation/ABI/testing/sysfs-class-power: types that bring power in


def on_mains(sys: Path) -> bool | None:
    """Tell whether power comes in, None if the host does not tell."""
    online = [read_int(supply / "online") for supply in _supplies(sys, *_MAINS)]
    known = [state for state in online if state is not None]
    if known:
        return any(known)
    charging = [battery["state"] for battery in batteries(sys)]
    return "discharging" not in charging if charging else None


def batteries(sys: Path) -> list[dict[str, Any]]:
    """Return every battery of the host; one of scope Device belongs to a mouse or a headset."""
    own = [supply for supply in _supplies(sys, "Battery", "UPS") if read_text(supply / "scope") != "Device"]
    return [_battery(supply) for supply in own]


def thermal(sys: Path) -> list[dict[str, Any]]:
    """Return every thermal zone."""
    folder = sys / "class/thermal"
    zones = [name for name in names(folder) if name.startswith("thermal_zone")]
    return [
        {
            "zone": name,
            "kind": read_text(folder / name / "type"),
            "celsius": scaled(read_int(folder / name / "temp"), 1000),
        }
        for name in zones
    ]


def numbers(sys: Path) -> tuple[float | None, float | None, float | None]:
    """Return charge of the fullest battery in percent, watts of all batteries, and Celsius of the warmest zone."""
    found = batteries(sys)
    watts = [abs(one["power_w"]) for one in found if one["power_w"] is not None]
    return _fullest(found), sum(watts) if watts else None, _warmest(sys)


def sample_of(sys: Path) -> Sample:
    """Return what rules ask for: the fullest battery and the warmest zone; a value that cannot be is not known."""
    mains = on_mains(sys)
    return Sample(None if mains is None else not mains, _fullest(batteries(sys)), _warmest(sys))


def _fullest(found: list[dict[str, Any]]) -> float | None:
    charges = [one["charge_percent"] for one in found]
    return max((float(one) for one in charges if one is not None and 0 <= one <= 100), default=None)


def _warmest(sys: Path) -> float | None:
    degrees = [one["celsius"] for one in thermal(sys)]
    return max((one for one in degrees if one is not None and -100 < one < 250), default=None)


def _supplies(sys: Path, *kinds: str) -> list[Path]:
    folder = sys / "class/power_supply"
    supplies = [folder / name for name in names(folder)]
    return [supply for supply in supplies if read_text(supply / "type") in kinds]


def _battery(supply: Path) -> dict[str, Any]:
    volt = scaled(read_int(supply / "voltage_now"), 1e6)
    state = read_text(supply / "status")
    return {
        "name": supply.name,
        "charge_percent": read_int(supply / "capacity"),
        "state": None if state is None else state.lower().replace(" ", "_"),
        "energy_wh": _energy(supply, "now", volt),
        "energy_full_wh": _energy(supply, "full", volt),
        "power_w": _power(supply, volt),
        "cycles": read_int(supply / "cycle_count") or None,
        "technology": read_text(supply / "technology"),
    }


def _energy(supply: Path, which: str, volt: float | None) -> float | None:
    """Watt hours, from energy_* (uWh), or from charge_* (uAh) and the voltage."""
    energy = scaled(read_int(supply / f"energy_{which}"), 1e6)
    charge = scaled(read_int(supply / f"charge_{which}"), 1e6)
    if energy is None and charge is not None and volt is not None:
        return charge * volt
    return energy


def _power(supply: Path, volt: float | None) -> float | None:
    power = scaled(read_int(supply / "power_now"), 1e6)
    current = scaled(read_int(supply / "current_now"), 1e6)
    if power is None and current is not None and volt is not None:
        power = current * volt
    return None if power is None else abs(power)
