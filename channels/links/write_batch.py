"""Write batch: what a turn of the event loop queued leaves at its end, in one write per link.

What a link receives is handled to the end within one callback, so the answers and forwarded frames of a whole chunk
leave together, at once and without another trip through the event loop. What is queued outside of that leaves with the
next callback. Nothing waits for company longer than that. One per event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class WriteBatch:
    """The links that have something to write at the end of this turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._flushes: list[Callable[[], None]] = []
        self._watchers: list[Callable[[], None]] = []
        self._inside = False
        self._scheduled = False
        self.turn = 0  # how many times a link was read

    def want(self, flush: Callable[[], None]) -> None:
        """Call this at the end of the turn; to be asked for once for each time that it is called."""
        self._flushes.append(flush)
        if not self._inside and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.end)

    @contextmanager
    def watched(self, look: Callable[[], None]) -> Iterator[None]:
        """Call this whenever everything was written; costs nothing while no one watches."""
        self._watchers.append(look)
        try:
            yield
        finally:
            self._watchers.remove(look)

    def begin(self) -> None:
        """Begin a callback that may queue much; it has to call `end`."""
        self._inside = True

    def begin_turn(self) -> None:
        """Begin a callback that takes what others have sent; it has to call `end`."""
        self._inside = True
        self.turn += 1

    def end(self) -> None:
        """Write everything."""
        self._inside = self._scheduled = False
        flushes = self._flushes
        while flushes:
            flushes.pop()()
        if self._watchers:
            for look in list(self._watchers):
                look()
