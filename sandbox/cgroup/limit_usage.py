"""Usage of limits: how often a process has met them, as far as that shows from outside.

Pure but for `open_descriptors`.

A control group counts what it has refused (cgroups(7): `max` of pids.events, `oom` of memory.events), and the kernel
tells how many descriptors a process has open. What an rlimit refuses is counted nowhere: that a call of a process
failed with EMFILE, EAGAIN or ENOMEM is seen by that process alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """What is known at one moment. The counters belong to the control group and only grow; 0 where none counts."""

    descriptors: int = 0  # open now
    descriptors_most: int = 0  # 0: no limit is known
    tasks: int = 0  # refused so far
    memory: int = 0  # times that nothing was left of it


def parse_count(text: str, name: str) -> int:
    """Return a counter in a text of pids.events or memory.events. Raises ValueError if it is not there."""
    for line in text.splitlines():
        key, _, count = line.partition(" ")
        if key == name:
            return int(count)
    raise ValueError(f"no {name}")


def open_descriptors(pid: int) -> int:
    """Return how many descriptors a process has open; 0 if that cannot be read, or it has ended."""
    folder = f"/proc/{pid}/fd"
    try:
        return os.stat(folder).st_size or len(os.listdir(folder))  # the size is their number from Linux 6.2 on
    except OSError:
        return 0
