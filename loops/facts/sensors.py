"""Sensors of the host: temperatures and fans of hwmon, thermal zones, errors of memory (EDAC). Read below a root.

Documentation/hwmon/sysfs-interface.rst, driver-api/thermal/sysfs-api.rst, admin-guide/RAS/main.rst. What is not there
is null, and a sensor that sleeps is one whose value is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from tlsrt.loops.sampling.procfs import names, read_int, read_text, scaled

CHIPS_MAX = 64  # of each kind: a rack server has about 20
READINGS_MAX = 256
_TRIPS_MAX = 16  # of one zone; the kernel's own bound was 12 for years


class Temperature(TypedDict):
    """One temperature and its limits; null where the driver tells none."""

    sensor: str
    label: str
    celsius: float | None
    high_celsius: float | None
    critical_celsius: float | None


class Fan(TypedDict):
    """One fan and the speed below which it is too slow."""

    sensor: str
    label: str
    revolutions_per_minute: int | None
    minimum_revolutions_per_minute: int | None


class Trip(TypedDict):
    """A temperature at which the kernel does something."""

    kind: str | None
    celsius: float | None


class ThermalZone(TypedDict):
    """One thermal zone, what cools it and when."""

    name: str
    kind: str | None
    celsius: float | None
    policy: str | None
    trips: list[Trip]


class MemoryController(TypedDict):
    """One memory controller with error correction: errors since its driver was loaded."""

    name: str
    kind: str | None
    size_bytes: int | None
    corrected_errors: int | None
    uncorrected_errors: int | None


def read_temperatures(sys: Path) -> list[Temperature]:
    """Return every temperature of hwmon and of thermal zones."""
    return [*_hwmon_temperatures(sys), *_zone_temperatures(sys)]


def read_fans(sys: Path) -> list[Fan]:
    """Return every fan of hwmon."""
    return [
        {
            "sensor": chip,
            "label": read_text(base.with_name(f"{base.name}_label"), 128) or base.name,
            "revolutions_per_minute": read_int(base.with_name(f"{base.name}_input")),
            "minimum_revolutions_per_minute": read_int(base.with_name(f"{base.name}_min")),
        }
        for chip, base in _readings(sys, "fan")
    ]


def read_thermal_zones(sys: Path) -> list[ThermalZone]:
    """Return every thermal zone."""
    return [_zone(zone) for zone in _zones(sys)]


def read_memory_controllers(sys: Path) -> list[MemoryController]:
    """Return every memory controller that the kernel watches; none without EDAC."""
    folder = sys / "devices/system/edac/mc"
    return [_controller(folder / name) for name in names(folder)[:CHIPS_MAX] if re.fullmatch(r"mc\d+", name)]


def _readings(sys: Path, kind: str) -> Iterator[tuple[str, Path]]:
    """Give chip and base name, such as .../hwmon0/fan1, of every reading of a kind."""
    folder, left = sys / "class/hwmon", READINGS_MAX
    for chip in names(folder)[:CHIPS_MAX]:
        found = [name for name in names(folder / chip) if re.fullmatch(rf"{kind}\d+_input", name)][:left]
        left -= len(found)
        for name in found:
            yield read_text(folder / chip / "name", 128) or chip, folder / chip / name.removesuffix("_input")


def _hwmon_temperatures(sys: Path) -> Iterator[Temperature]:
    for chip, base in _readings(sys, "temp"):
        yield {
            "sensor": chip,
            "label": read_text(base.with_name(f"{base.name}_label"), 128) or base.name,
            "celsius": _celsius(base.with_name(f"{base.name}_input")),
            "high_celsius": _celsius(base.with_name(f"{base.name}_max")),
            "critical_celsius": _celsius(base.with_name(f"{base.name}_crit")),
        }


def _zones(sys: Path) -> list[Path]:
    folder = sys / "class/thermal"
    return [folder / name for name in names(folder) if name.startswith("thermal_zone")][:CHIPS_MAX]


def _zone_temperatures(sys: Path) -> Iterator[Temperature]:
    for zone in _zones(sys):
        yield {
            "sensor": read_text(zone / "type", 128) or zone.name,
            "label": zone.name,
            "celsius": _celsius(zone / "temp"),
            "high_celsius": None,
            "critical_celsius": None,
        }


def _zone(zone: Path) -> ThermalZone:
    trips = [f"trip_point_{number}" for number in range(_TRIPS_MAX) if (zone / f"trip_point_{number}_temp").exists()]
    return {
        "name": zone.name,
        "kind": read_text(zone / "type", 128),
        "celsius": _celsius(zone / "temp"),
        "policy": read_text(zone / "policy", 128),
        "trips": [
            {"kind": read_text(zone / f"{trip}_type", 64), "celsius": _celsius(zone / f"{trip}_temp")} for trip in trips
        ],
    }


def _controller(folder: Path) -> MemoryController:
    size = read_int(folder / "size_mb")
    return {
        "name": folder.name,
        "kind": read_text(folder / "mc_name", 128),
        "size_bytes": None if size is None else size << 20,
        "corrected_errors": read_int(folder / "ce_count"),
        "uncorrected_errors": read_int(folder / "ue_count"),
    }


def _celsius(path: Path) -> float | None:
    return scaled(read_int(path), 1000)
