"""Tells when a process meets a limit of its profile: once, until it is well below again. Pure.

What it met before its first look is not told: that was under the eyes of its own import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tlsrt.sandbox.cgroup.limit_usage import LimitUsage

DESCRIPTORS, TASKS, MEMORY = "descriptors", "tasks", "memory"
AGAIN_BELOW = 0.9  # of the descriptors
AGAIN_S = 10.0  # a counter that goes on growing is told again after so long

Tell = Callable[[str, int, str, str], None]  # process, incarnation, kind of limit, sentence


@dataclass(slots=True)
class _SeenUsage:
    incarnation: int
    usage: LimitUsage
    is_full: bool = False
    told_at: float = -AGAIN_S


class LimitMonitor:
    """What was seen of each process at the last look. `now` is any steady clock, in s."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._seen: dict[str, _SeenUsage] = {}

    def look(self, name: str, incarnation: int, usage: LimitUsage, now: float) -> None:
        """Compare with the last look."""
        seen = self._seen.get(name)
        if seen is None or seen.incarnation != incarnation:
            seen = self._seen[name] = _SeenUsage(incarnation, usage)
        most = usage.descriptors_most
        if most and usage.descriptors >= most and not seen.is_full:
            seen.is_full = True
            self._tell(name, incarnation, DESCRIPTORS, f"all of its {most} descriptors are open")
        elif usage.descriptors < most * AGAIN_BELOW:
            seen.is_full = False
        if now - seen.told_at < AGAIN_S:
            return
        before, seen.usage = seen.usage, usage
        if usage.tasks > before.tasks:
            seen.told_at = now
            self._tell(name, incarnation, TASKS, "its control group has refused it another task")
        if usage.memory > before.memory:
            seen.told_at = now
            self._tell(name, incarnation, MEMORY, "its control group had no memory left for it")
