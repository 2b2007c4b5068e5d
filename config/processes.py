"""Names of processes: a loop has one of its own name, and may have further ones, named `loop.part`. Pure.

A component is addressed as `loop/component` whatever process it runs in: one of its own, `loop.component`, or one that
it shares with others. What a process may see, who it runs as and how it is restarted follows from its name alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Placement = Literal["own", "shared"]
# Loop: its part for components that share a process, where that is not the loop's own.
SHARED_PARTS: Mapping[str, str] = MappingProxyType({"primary": "facts"})
# Loop: the built-in components that run in the loop's own process although it has such a part. Primary checks every
# message of the host, so nothing that computes is there: a call to the events costs it as much as passing the
# answer would.
CORE: Mapping[str, frozenset[str]] = MappingProxyType({"primary": frozenset({"primary/events"})})

DOOR_PROCESS = "primary.door"  # of a door with a process of its own, which runs no component

LINK_CONNECTIONS_MAX = 8  # of one process with Primary; the oldest goes when one more comes
_STEP = 64  # processes: a reload that adds one seldom changes what Primary needs


def links_of(processes: int) -> int:
    """Return how many descriptors Primary may need for the links of so many processes, and of some more."""
    return -(-processes // _STEP) * _STEP * (LINK_CONNECTIONS_MAX + 2)  # where it listens, and one that just came


def loop_of(process: str) -> str:
    """Return the loop that a process belongs to."""
    return process.partition(".")[0]


def is_part(process: str) -> bool:
    """Tell whether this is a further process of its loop."""
    return "." in process


def may_run_in(process: str, address: str, *, is_builtin: bool) -> bool:
    """Tell whether a process may host a component: where a loop has a core, its own process hosts nothing else."""
    core = CORE.get(process)
    return core is None or (is_builtin and address in core)


def part_for(address: str, *, is_builtin: bool, placement: Placement) -> str:
    """Return the part of its loop that a component runs in; "" for the loop's own process."""
    loop, _, name = address.partition("/")
    if loop in CORE and may_run_in(loop, address, is_builtin=is_builtin):
        return ""
    if placement == "own":
        return name
    return SHARED_PARTS.get(loop, "")


def loop_of_address(address: str) -> str:
    """Return the loop that a component belongs to."""
    return address.partition("/")[0]


def process_name(loop: str, part: str) -> str:
    """Return the name of the process for a part of a loop."""
    return f"{loop}.{part}" if part else loop
