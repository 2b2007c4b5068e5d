"""What one listener has not taken yet: the newest items, and how many were left out before them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Listener(Generic[Item]):
    """The newest `capacity` items for one who listens; who is slow misses the oldest ones."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[Item] = deque(maxlen=capacity)
        self._come = asyncio.Event()
        self.dropped = 0

    def put(self, item: Item) -> None:
        """Add an item; the oldest one makes room."""
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(item)
        self._come.set()

    async def take(self) -> tuple[int, Item]:
        """Wait for an item; return how many were left out before it, and it."""
        while not self._items:
            self._come.clear()
            await self._come.wait()
        dropped, self.dropped = self.dropped, 0
        return dropped, self._items.popleft()
