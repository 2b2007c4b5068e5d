"""What another process has open, as /proc says it: proc_pid_fd(5)."""

from __future__ import annotations

import os
from pathlib import Path


def descriptors_of(pid: int) -> dict[int, str]:
    """Return the descriptors of a process and what each is, without those that are closed while one looks."""
    found: dict[int, str] = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(path.name)] = os.readlink(path)
        except FileNotFoundError:
            continue
    return found


def lasting(pid: int) -> list[str]:
    """Return what a process has open, but for files by which the supervisor looks at the tasks that there are."""
    return [one for one in descriptors_of(pid).values() if not one.startswith(("/proc/", "/sys/fs/cgroup/"))]
