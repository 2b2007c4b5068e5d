"""The processes of a host: all have its mark in their environment, so that none can be left unseen."""

from __future__ import annotations

import fcntl
import os
import re
import select
from pathlib import Path

import psutil

MARK = "TLSRT_TEST_HOST"
WITNESS_S = 30.0


class HostProcesses:
    """All processes that a host ever had. `witness` is the name of a program that looks on, as strace(1) does."""

    def __init__(self, mark: str, witness: str = "") -> None:
        self._mark = mark
        self._witness = witness
        self._ever: dict[int, psutil.Process] = {}

    def note(self, pid: int) -> None:
        """Remember what descends from a process now."""
        for child in psutil.Process(pid).children(recursive=True):
            self._ever[child.pid] = child

    def left(self, lock: Path) -> list[psutil.Process]:
        """Return those that are there; if none is, nobody holds the start lock either, or this raises OSError.

        A witness ends by itself when all that it looked at has ended, and so after them.
        """
        marked = [process for process in self._marked() if not self._is_ending_witness(process)]
        known = [process for process in self._ever.values() if lives(process)]
        if not marked and not known and lock.exists():
            descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(descriptor)
        return [*marked, *known]

    def _marked(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if mark_of(process.pid) == self._mark]

    def _is_ending_witness(self, process: psutil.Process) -> bool:
        """Wait for a witness; False for any other process, and for one that stays."""
        try:
            return bool(self._witness) and process.name() == self._witness and has_ended(process.pid, WITNESS_S)
        except psutil.NoSuchProcess:
            return True  # nothing of it is there


def has_ended(pid: int, timeout_s: float) -> bool:
    """Wait until a process has ended, collected or not: pidfd_open(2)."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], timeout_s)[0])
    finally:
        os.close(pidfd)


def lives(process: psutil.Process) -> bool:
    """Tell whether a process is there.

    A dead process whose last parent does not collect it, as in some containers, is as gone as can be.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def mark_of(pid: int) -> str:
    """Return the mark that a process has from its host, "" if it has none."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone, or not ours to see
        return ""
    found = re.search(rb"(?:^|\0)%s=([0-9a-f]+)" % MARK.encode(), data)
    return found[1].decode() if found else ""
