"""Names of processes: a loop has one of its own name, and may have further ones, named `loop.part`. Pure.

A component is addressed as `loop/component` whatever process it runs in. Here is the table of the parts that there are;
what a process may see, who it runs as and how it is restarted follows from its name alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Loop: its part for all components that do not run in the loop's own process.
PARTS: Mapping[str, str] = MappingProxyType({"primary": "facts"})
# Loop: the built-in components that do. Primary checks every message of the host, so nothing that computes is there:
# a call to the events costs it as much as passing the answer would.
CORE: Mapping[str, frozenset[str]] = MappingProxyType({"primary": frozenset({"primary/events"})})


def loop_of(process: str) -> str:
    """Return the loop that a process belongs to."""
    return process.partition(".")[0]


def is_part(process: str) -> bool:
    """Tell whether this is a further process of its loop."""
    return "." in process


def runs_in_loop(address: str, *, is_builtin: bool) -> bool:
    """Tell whether a component runs in its loop's own process."""
    loop = loop_of_address(address)
    return loop not in PARTS or (is_builtin and address in CORE[loop])


def part_for(address: str, *, is_builtin: bool) -> str:
    """Return the part of its loop that a component runs in; "" for the loop's own process."""
    return "" if runs_in_loop(address, is_builtin=is_builtin) else PARTS[loop_of_address(address)]


def loop_of_address(address: str) -> str:
    """Return the loop that a component belongs to."""
    return address.partition("/")[0]


def process_name(loop: str, part: str) -> str:
    """Return the name of the process for a part of a loop."""
    return f"{loop}.{part}" if part else loop
