"""The steps in force: found by step and whom, ended by time, bounded. Pure; times are BOOTTIME in ms.

One more than fits makes room by ending the one that would end first. That and `due` cost the logarithm of their number
in the mean: thousands of addresses that are blocked at once are no work for each other.
"""

from __future__ import annotations

from collections.abc import Iterator

from tlsrt.supervisor.authority.detection.escalation import ResponseStep, Taken
from tlsrt.supervisor.authority.model.services import Charge
from tlsrt.supervisor.process.timers import Timers

Key = tuple[ResponseStep, Charge]


class ActiveMeasures:
    """All that are in force. Of those that end at the same time, the one that began first goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._steps: dict[Key, Taken] = {}
        self._ends: Timers[Key] = Timers()

    def put(self, key: Key, taken: Taken) -> None:
        """Put a step in force."""
        if key not in self._steps and len(self._steps) >= self._most:
            first = self._ends.pop()
            if first is not None:
                del self._steps[first]
        self._steps[key] = taken
        self._ends.set(key, taken.until)

    def next_due(self) -> int | None:
        """Return when `due` has something to end."""
        return self._ends.next()

    def due(self, now: int) -> list[Taken]:
        """End the steps whose time is over; return them, the first to end first."""
        return [self._steps.pop(key) for key in self._ends.due(now)]

    def release(self, value: str) -> list[Taken]:
        """End every step that somebody is under; return them."""
        keys = [key for key, taken in self._steps.items() if taken.charge.value == value]
        for key in keys:
            self._ends.cancel(key)
        return [self._steps.pop(key) for key in keys]

    def __contains__(self, key: Key) -> bool:
        return key in self._steps

    def __iter__(self) -> Iterator[Taken]:
        return iter(tuple(self._steps.values()))

    def __len__(self) -> int:
        return len(self._steps)
