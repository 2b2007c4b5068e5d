"""Whose entries of the log files are wanted: what an operator types, as processes, a component or a program. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tlsrt.channels.control.log_entries import LogEntry


class Subject(NamedTuple):
    """Whose entries are wanted: of these processes, of a component or a program of it if one is named."""

    processes: tuple[str, ...]
    component: str = ""
    program: str = ""

    def wants(self, entry: LogEntry) -> bool:
        """Tell whether an entry is wanted."""
        if self.component and entry.component not in ("", self.component):
            return False
        return not self.program or entry.program == self.program


def subject_of(text: str, processes: Sequence[str], components: Mapping[str, str]) -> Subject | None:
    """Return what LOOP, LOOP.COMPONENT, LOOP/COMPONENT or one of these with /PROGRAM names; None for nothing known.

    `components` has the process of each address.
    """
    if not text:
        return Subject(tuple(processes))
    if text in components:
        return _of_component(text, components)
    if text in processes:
        parts = [one for one in processes if one.startswith(f"{text}.")]
        return Subject((text, *parts))
    owner, _, program = text.rpartition("/")
    if owner in components:
        return _of_component(owner, components)._replace(program=program)
    if owner in processes and "." in owner:  # a loop has no programs of its own
        return Subject((owner,), program=program)
    return None


def _of_component(address: str, components: Mapping[str, str]) -> Subject:
    process = components[address]
    is_own = process == address.replace("/", ".")
    return Subject((process,), "" if is_own else address)
