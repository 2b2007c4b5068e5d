"""What waits for one collector: a bounded queue in memory that counts what it has no room for. Pure.

What is new is left out when it is full, so that the beginning of a trouble is kept; and one half of it is for events
that an operator has to see, so that a flood of lines hides no alarm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

BYTES_MAX = 8 << 20
_EACH = 128  # bytes of bookkeeping for one


class Backlog:
    """Items in the order in which they came; `take` gives some of them, and `put_back` returns them to the front."""

    def __init__(self, most: int = BYTES_MAX) -> None:
        self._most = most
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: bytes, *, is_grave: bool) -> None:
        """Keep an item, or count it as dropped."""
        size = len(item) + _EACH
        if self._bytes + size > (self._most if is_grave else self._most // 2):
            self._dropped += 1
            return
        self._items.append(item)
        self._bytes += size

    def take(self, bytes_most: int, count_most: int) -> list[bytes]:
        """Return the first items, at least one if there are any."""
        taken: list[bytes] = []
        size = 0
        while self._items and len(taken) < count_most:
            size += len(self._items[0])
            if taken and size > bytes_most:
                break
            taken.append(self._items.popleft())
            self._bytes -= len(taken[-1]) + _EACH
        return taken

    def put_back(self, items: Sequence[bytes]) -> None:
        """Return what was taken and could not be sent."""
        self._items.extendleft(reversed(items))
        self._bytes += sum(len(item) + _EACH for item in items)

    def drop(self, count: int) -> None:
        """Count items that were taken, and that nothing will send."""
        self._dropped += count

    def take_dropped(self) -> int:
        """Return how many were dropped since the last time."""
        dropped, self._dropped = self._dropped, 0
        return dropped
