"""Timers of a blocking loop: at most one per key, in a heap. Pure: time comes in as an argument, in any one unit."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Timers(Generic[Key]):
    """Says which keys are due. A cancelled or moved timer leaves a dead entry behind, swept when they prevail."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._live: dict[Key, tuple[int, int]] = {}
        self._count = 0

    def set(self, key: Key, when: int) -> None:
        """Let `key` be due at `when`, and at no other time."""
        self._count += 1  # also keeps keys, which need no order, from being compared
        self._live[key] = (when, self._count)
        heappush(self._heap, (when, self._count, key))
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._live):
            self._heap = [(when, count, key) for key, (when, count) in self._live.items()]
            heapify(self._heap)

    def cancel(self, key: Key) -> None:
        """Forget `key`, if it is there."""
        self._live.pop(key, None)

    def next(self) -> int | None:
        """Return when the next key is due, or None."""
        while self._heap:
            when, count, key = self._heap[0]
            if self._live.get(key) == (when, count):
                return when
            heappop(self._heap)
        return None

    def due(self, now: int) -> list[Key]:
        """Remove and return the keys that are due at `now`, the earliest first."""
        keys: list[Key] = []
        while (when := self.next()) is not None and when <= now:
            key = heappop(self._heap)[2]
            del self._live[key]
            keys.append(key)
        return keys

    def pop(self) -> Key | None:
        """Remove and return the key that would be due first, or None."""
        if self.next() is None:
            return None
        key = heappop(self._heap)[2]
        del self._live[key]
        return key

    def __len__(self) -> int:
        return len(self._live)
