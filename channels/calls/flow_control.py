"""Flow control of streams: credit, and parts without gaps. Pure but for the waiting.

The receiver of a stream allows so many parts ahead; the sender waits when it has used them up. Parts count from 0
without a gap and the last one carries FINAL, so a short stream is always an error and never a short success.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from tlsrt.errors import CallError, StreamBroken

WINDOW = 32  # parts ahead of the consumer
Item = TypeVar("Item")


class Credit:
    """The sender's half: how many parts may still be sent."""

    def __init__(self, initial: int = WINDOW) -> None:
        self._left = initial
        self._more = asyncio.Event()

    def add(self, count: int) -> None:
        self._left = min(self._left + count, 1 << 20)
        if self._left:
            self._more.set()

    async def take(self) -> None:
        """Wait until one part may be sent."""
        while not self._left:
            self._more.clear()
            await self._more.wait()
        self._left -= 1


class Inbox(Generic[Item]):
    """The receiver's half: parts in order, an end, or an error. Bounded by the credit that it gives."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._next = 0
        self._taken = 0
        self._ended = False
        self._error: CallError | None = None

    def put(self, part: int, item: Item) -> None:
        """Take part number `part`; a gap or more than the window breaks the stream."""
        if self._ended:
            return
        if part != self._next:
            self.fail(StreamBroken(f"part {self._next} is missing: got part {part}"))
            return
        if len(self._items) >= 2 * WINDOW:
            self.fail(StreamBroken("the sender ignores flow control"))
            return
        self._next += 1
        self._items.append(item)
        self._wake.set()

    def finish(self, part: int) -> None:
        """Note the FINAL part."""
        if not self._ended and part != self._next:
            self.fail(StreamBroken(f"the stream ends at part {part}, but part {self._next} is missing"))
            return
        self._ended = True
        self._wake.set()

    def fail(self, error: CallError) -> None:
        """End with an error; what has arrived is still delivered before it."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake.set()

    def cut(self, error: CallError) -> None:
        """End with an error at once: what has arrived and was not read is delivered no more."""
        self._items.clear()
        self._ended = True
        self._error = error
        self._wake.set()

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def is_broken(self) -> bool:
        """Whether it was ended on this side, so that the sender does not know."""
        return isinstance(self._error, StreamBroken) and not self._error.is_told

    async def get(self) -> Item:
        """Return the next item; raise StopAsyncIteration at the end, or the error that ended it."""
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        self._taken += 1
        return self._items.popleft()

    def credit_due(self) -> int:
        """Return how much credit to give now: half a window at a time, so that it costs one message in 16."""
        if self._taken >= WINDOW // 2 and not self._ended:
            due, self._taken = self._taken, 0
            return due
        return 0
