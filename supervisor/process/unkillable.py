"""Killed processes that do not end: they wait in the kernel where no signal reaches them (D, proc_pid_stat(5)).

A disk or a network file system that does not answer does that, and nothing but its answer ends it. So the supervisor
waits for the pidfd as for every death, starts no second copy meanwhile, and says what it waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tlsrt.supervisor.process.children import Child

PATIENCE_S = 1.0  # a large process takes a while to give its memory back


class KilledProcess(NamedTuple):
    """A process that was killed, and has not ended yet."""

    name: str
    child: Child


@dataclass(frozen=True, slots=True)
class UnkillableProcess:
    """Since when a process should be dead, in seconds of the event loop's clock, and where it waits."""

    since: float
    where: str


class UnkillableProcesses:
    """Checks killed processes; `say` is called once for each that stays, with where it waits."""

    def __init__(self, say: Callable[[str, str], None], where: Callable[[int], str] | None = None) -> None:
        self._say = say
        self._where = where or waits_in
        self._since: dict[str, tuple[Child, float]] = {}
        self._stuck: dict[str, UnkillableProcess] = {}

    def look(self, killed: Iterable[KilledProcess], now: float) -> None:
        """Take all processes that were killed and have not ended."""
        before, self._since = self._since, {}
        for name, child in killed:
            known = before.get(name)
            if known is None or known[0] is not child:
                known = (child, now)
                self._stuck.pop(name, None)
            self._since[name], since = known, known[1]
            if now - since < PATIENCE_S:
                continue
            where = self._where(child.host_pid)
            if name not in self._stuck:
                self._say(name, where)
            self._stuck[name] = UnkillableProcess(since, where)
        self._stuck = {name: one for name, one in self._stuck.items() if name in self._since}

    def of(self, name: str) -> UnkillableProcess | None:
        """Return since when, and where, a process is stuck."""
        return self._stuck.get(name)


def waits_in(host_pid: int) -> str:
    """Return the state of the thread that keeps a process, as `D` or `D in folio_wait_bit`, "?" if unknown."""
    found = "?"
    try:
        tasks = os.listdir(f"/proc/{host_pid}/task")
    except OSError:
        return found
    for task in tasks:
        state = state_in(f"/proc/{host_pid}/task/{task}")
        if state.startswith("D"):
            return state
        if found == "?" or found.startswith("Z"):
            found = state
    return found


def state_in(folder: str) -> str:
    """Return the state of a thread, and where in the kernel it waits if that is known; `folder` is its own in /proc."""
    try:
        with open(f"{folder}/stat", encoding="ascii", errors="replace") as file:
            letter = file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "?"
    try:
        with open(f"{folder}/wchan", encoding="ascii", errors="replace") as file:
            where = file.read()
    except OSError:
        return letter
    return f"{letter} in {where}" if where not in ("", "0") else letter
