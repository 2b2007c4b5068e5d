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
