"""Whether the kernel holds a process for its disk: what it says itself counts for nothing here.

Its event loop runs in the first thread. That one waits for a disk if it sleeps where no signal wakes it (D,
proc_pid_stat(5)), or sleeps in a call that syncs (proc_pid_syscall(5)): over FUSE or a network that is an ordinary
sleep. The second needs the right to trace it, and where that is missing only the first is known.
"""

from __future__ import annotations

import os
from functools import cache

from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
from tlsrt.supervisor.process.unkillable import state_in

_SYNCS = ("fsync", "fdatasync", "sync_file_range", "msync", "syncfs")


def disk_wait_of(host_pid: int) -> str:
    """Return where the first thread of a process waits for its disk, as `D in folio_wait_bit`; empty if it does not."""
    folder = f"/proc/{host_pid}/task/{host_pid}"
    state = state_in(folder)
    if state.startswith("D"):
        return state
    try:
        with open(f"{folder}/syscall", encoding="ascii", errors="replace") as file:
            number = file.read().split(maxsplit=1)[0]
    except (OSError, IndexError):
        return ""
    return _numbers().get(number, "")


@cache
def _numbers() -> dict[str, str]:
    known = NUMBERS.get(os.uname().machine, {})
    return {str(known[name]): name for name in _SYNCS if name in known}
