"""Power: supplies, batteries, governors, thermal zones and sleep states, from /sys. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from tlsrt import Component, handler
from tlsrt.loops.sampling.procfs import Interval, clocks, names, read_int, read_text, scaled
from tlsrt.loops.sampling.samples import Samples

_MAINS = ("Mains", "USB", "Wireless")  # Documentation/ABI/testing/sysfs-class-power: types that bring power in


class Power(Component):
    """Where the power comes from and how the host spends it."""

    class Options:
        """There are none."""

    topics = {"changed": "the status, whenever the source of power or a battery's charge state changed during a watch"}  # noqa: RUF012

    proc = Path("/proc")
    sys = Path("/sys")

    def __init__(self) -> None:
        self._samples = Samples(self._read_status)
        self._source: object = None  # of the last sample: what `changed` is about

    def healthy(self) -> str | None:
        return None if names(self.sys / "class") else "/sys shows nothing"

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """On mains (null if the host does not tell), batteries, thermal zones, governor, sleep states, uptime."""
        return self._samples.now()

    def _read_status(self) -> dict[str, Any]:
        words = (read_text(self.proc / "uptime") or "").split()
        governors = self._governors()
        on_mains, batteries = self._on_mains(), self._batteries()
        status = {
            "on_mains": on_mains,
            "batteries": batteries,
            "thermal": self._thermal(),
            "governor": next(iter(governors["in_use"].values()), None),
            "suspend_states": (read_text(self.sys / "power/state") or "").split(),
            "uptime_s": float(words[0]) if words else None,
            **clocks(),
        }
        source = (on_mains, [battery["state"] for battery in batteries])
        if self._source is not None and source != self._source:
            self.publish("changed", status)
        self._source = source
        return status

    def _supplies(self, *kinds: str) -> list[Path]:
        folder = self.sys / "class/power_supply"
        supplies = [folder / name for name in names(folder)]
        return [supply for supply in supplies if read_text(supply / "type") in kinds]

    def _on_mains(self) -> bool | None:
        online = [read_int(supply / "online") for supply in self._supplies(*_MAINS)]
        known = [state for state in online if state is not None]
        if known:
            return any(known)
        charging = [battery["state"] for battery in self._batteries()]
        return "discharging" not in charging if charging else None

    @handler(idempotent=True)
    async def batteries(self) -> list[dict[str, Any]]:
        """Every battery of the host: charge in percent, state, energy in watt hours, power in watts."""
        return self._batteries()

    def _batteries(self) -> list[dict[str, Any]]:
        # A battery of scope Device belongs to a mouse or a headset, not to the host.
        own = [supply for supply in self._supplies("Battery", "UPS") if read_text(supply / "scope") != "Device"]
        return [_battery(supply) for supply in own]

    def _thermal(self) -> list[dict[str, Any]]:
        folder = self.sys / "class/thermal"
        zones = [name for name in names(folder) if name.startswith("thermal_zone")]
        return [
            {
                "zone": name,
                "kind": read_text(folder / name / "type"),
                "celsius": scaled(read_int(folder / name / "temp"), 1000),
            }
            for name in zones
        ]

    @handler(idempotent=True)
    async def governors(self) -> dict[str, Any]:
        """The frequency governor of each processor and those it could use; empty without frequency scaling."""
        return self._governors()

    def _governors(self) -> dict[str, Any]:
        folder = self.sys / "devices/system/cpu"
        scaling = {
            name: folder / name / "cpufreq"
            for name in names(folder)
            if name.startswith("cpu") and name[3:].isdecimal() and (folder / name / "cpufreq").is_dir()
        }
        available = {
            governor
            for path in scaling.values()
            for governor in (read_text(path / "scaling_available_governors") or "").split()
        }
        in_use = {name: read_text(path / "scaling_governor") for name, path in scaling.items()}
        return {"in_use": in_use, "available": sorted(available)}

    @handler
    async def watch(self, interval_s: Interval = 5.0) -> AsyncIterator[dict[str, Any]]:
        """The status now and every `interval_s` seconds, at the same moments for all who watch."""
        async with aclosing(self._samples.every(interval_s)) as samples:
            async for sample in samples:
                yield sample


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
