"""What the supervisor reads about a process from outside."""

from __future__ import annotations

import os


def memory_kib(host_pid: int) -> int | None:
    """Return the memory of a process in KiB, shared pages divided among their users (PSS, proc_pid_smaps(5)).

    Falls back to the resident set; None when the process is gone or may not be looked at.
    """
    try:
        with open(f"/proc/{host_pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        with open(f"/proc/{host_pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
    except (OSError, ValueError, IndexError):
        return None
