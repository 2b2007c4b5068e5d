"""Orphans: processes that an ended one has left behind, found by a namespace of its own.

A process that has ended as the first one of its pid namespace leaves none: the kernel ends them all before its parent
hears of it, pid_namespaces(7). This looks nevertheless, and where that namespace is waived it goes by another one that
the process had for itself; without any, it cannot be told whose descendant a process is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
KINDS = ("pid", "mnt", "ipc", "uts", "net")  # of /proc/PID/ns, the surest first


class Mark(NamedTuple):
    """A namespace by which a process and its descendants are known."""

    kind: str
    name: str  # "uts:[4026531838]"


def mark_of(pid: int, proc: Path = PROC) -> Mark | None:
    """Return the surest namespace that process `pid` (in `proc`) does not share with us, if any."""
    for kind in KINDS:
        with suppress(OSError):
            name = os.readlink(proc / str(pid) / "ns" / kind)
            if name != os.readlink(proc / "self" / "ns" / kind):
                return Mark(kind, name)
    return None


def left_behind(mark: Mark, proc: Path = PROC) -> Iterator[int]:
    """Yield every living process with this mark, as numbered in `proc`. Zombies have no namespaces any more."""
    for entry in os.listdir(proc):
        if entry.isdecimal() and _has(int(entry), mark, proc):
            yield int(entry)


def _has(pid: int, mark: Mark, proc: Path) -> bool:
    try:
        return os.readlink(proc / str(pid) / "ns" / mark.kind) == mark.name
    except OSError:  # it has ended, or is not ours to read: so no child of ours
        return False


def kill_left(mark: Mark, proc: Path = PROC) -> bool:
    """Kill the processes with this mark; return whether there were none."""
    is_empty = True
    for pid in left_behind(mark, proc):
        is_empty = False
        with suppress(OSError, ValueError):
            _kill(pid, mark, proc)
    return is_empty


def _kill(pid: int, mark: Mark, proc: Path) -> None:
    """Kill by a descriptor, after reading the mark again once it can mean no other process."""
    descriptor = os.pidfd_open(_own_number(pid, proc))
    try:
        if _has(pid, mark, proc):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _own_number(pid: int, proc: Path) -> int:
    """Return the number of a process in our pid namespace. Raises ValueError for one that is in none below ours."""
    ours, theirs = _numbers("self", proc), _numbers(str(pid), proc)
    if len(theirs) < len(ours):
        raise ValueError("in no namespace of ours")
    return theirs[len(ours) - 1]


def _numbers(pid: str, proc: Path) -> list[int]:
    """Return the NSpid line of proc_pid_status(5): a number for each pid namespace, `proc`'s first."""
    for line in (proc / pid / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return [int(number) for number in line.split()[1:]]
    raise ValueError("no NSpid")


class Orphans:
    """The marks of the processes, by name. A process that was never attested has run only our own code."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}

    def note(self, name: str, pid: int) -> None:
        """Remember a process that lives."""
        if name not in self._marks and (mark := mark_of(pid)) is not None:
            self._marks[name] = mark

    def forget(self, name: str) -> None:
        """The next process of that name has marks of its own."""
        self._marks.pop(name, None)

    def clear(self, name: str) -> bool:
        """Kill what a dead process has left behind; return whether nothing is left."""
        return name not in self._marks or kill_left(self._marks[name])
