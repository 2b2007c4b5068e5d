"""Active actions: found by action and source, ended by time, bounded. Pure; times are BOOTTIME in ms.

One more than fits makes room by ending the one that would end first. That and `due` cost the logarithm of their number
in the mean: thousands of addresses that are blocked at once are no work for each other.
"""

from __future__ import annotations

from collections.abc import Iterator

from tlsrt.supervisor.authority.detection.escalation import Action, AppliedAction
from tlsrt.supervisor.authority.model.ports import SignalSource
from tlsrt.supervisor.process.timers import Timers

Key = tuple[Action, SignalSource]


class ActiveActions:
    """All active actions. Of those that end at the same time, the one that began first goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._actions: dict[Key, AppliedAction] = {}
        self._ends: Timers[Key] = Timers()

    def put(self, key: Key, applied: AppliedAction) -> None:
        """Begin an action."""
        if key not in self._actions and len(self._actions) >= self._most:
            first = self._ends.pop()
            if first is not None:
                del self._actions[first]
        self._actions[key] = applied
        self._ends.set(key, applied.until)

    def next_due(self) -> int | None:
        """Return when `due` has something to end."""
        return self._ends.next()

    def due(self, now: int) -> list[AppliedAction]:
        """End the actions whose time is over; return them, the first to end first."""
        return [self._actions.pop(key) for key in self._ends.due(now)]

    def release(self, value: str) -> list[AppliedAction]:
        """End every action against a source; return them."""
        keys = [key for key, applied in self._actions.items() if applied.source.value == value]
        for key in keys:
            self._ends.cancel(key)
        return [self._actions.pop(key) for key in keys]

    def __contains__(self, key: Key) -> bool:
        return key in self._actions

    def __iter__(self) -> Iterator[AppliedAction]:
        return iter(tuple(self._actions.values()))

    def __len__(self) -> int:
        return len(self._actions)
