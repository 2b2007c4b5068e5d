"""What the supervisor reads about a process from outside."""

from __future__ import annotations

import os
import time

from tlsrt.supervisor.process.unkillable import waits_in


def memory_kib(host_pid: int) -> int | None:
    """Return the memory of a process in KiB, shared pages divided among their users (PSS, proc_pid_smaps(5)).

    Falls back to the resident set, also for one that waits in the kernel: what it may hold there, a reader of its
    mappings would wait for with it. None when the process is gone or may not be looked at.
    """
    try:
        if not waits_in(host_pid).startswith("D"):
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


def age_s(host_pid: int) -> float:
    """Return how long ago a process began, in seconds, to 10 ms (proc_pid_stat(5), starttime); 0 if unknown."""
    try:
        with open(f"/proc/{host_pid}/stat", encoding="ascii", errors="replace") as file:
            started_ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK"))


def parent_host_pid() -> int:
    """Return the pid of our parent as the host sees it (getppid(2) is 0 across a pid namespace); 0 if unknown."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
