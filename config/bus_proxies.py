"""Proxies of buses: the program that stands between a component and a bus of D-Bus, one for each filtered grant.

It is xdg-dbus-proxy(1), with arguments made of the grant, and confined as every program of a component. No component
asks for it: it begins with the first connection (`supervisor/supervision/buses.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlsrt.config.argument_patterns import parse_form
from tlsrt.config.buses import BusConfig
from tlsrt.config.programs import ProgramConfig

FOLDER = "bus"  # in run_dir; only the supervisor may pass through it
PROXY = Path("/usr/bin/xdg-dbus-proxy")
_LISTENS = "/bus"  # a name that it is not let bind: the supervisor gives it a socket that listens
_CONNECTIONS = 32


def proxy_name(number: int) -> str:
    """Return the name of the proxy of a grant, counted from 1: one that no other program can have."""
    return f"bus-{number}"


def socket_of(run_dir: Path, address: str, name: str) -> Path:
    """Return where the supervisor listens for a proxy of a component."""
    return run_dir / FOLDER / f"{address.replace('/', '.')}.{name}"


def arguments_of(bus: BusConfig) -> tuple[str, ...]:
    """Return the arguments of the proxy of a grant; it ends with its standard input."""
    return (f"unix:path={bus.bus}", _LISTENS, "--filter", *bus.filter, "--fd=0")


def proxies_of(buses: Sequence[BusConfig]) -> tuple[ProgramConfig, ...]:
    """Return the proxies of these grants; one that cannot be had has none."""
    return tuple(
        ProgramConfig(
            name=proxy_name(number),
            run=PROXY,
            why=bus.why,
            args=(parse_form(" ".join(arguments_of(bus))),),
            life="kept",
            memory_mb=64,
            processes=_CONNECTIONS,
            open_files=16 + 4 * _CONNECTIONS,
            bus=bus.bus,
            where=bus.where,
        )
        for number, bus in enumerate(buses, 1)
        if not bus.unfiltered and not bus.problem
    )
