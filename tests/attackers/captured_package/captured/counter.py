"""The victim: whatever was executed shows in its number."""

from __future__ import annotations

import asyncio

from tlsrt import Component, handler


class Counter(Component):
    """Counts what it was told to."""

    async def start(self) -> None:
        self.total = 0
        self.released = asyncio.Event()

    @handler
    async def add(self, number: int) -> int:
        """Add to the total and return it."""
        self.total += number
        return self.total

    @handler(idempotent=True)
    async def value(self) -> int:
        """The total."""
        return self.total

    @handler
    async def trace_of(self) -> str:
        """The trace of this call."""
        await asyncio.sleep(0)
        return f"{self.trace.traceparent} {self.trace.state}" if self.trace else ""

    @handler
    async def hold(self) -> str:
        """Answer only after `release`."""
        await self.released.wait()
        return "the true answer"

    @handler
    async def release(self) -> None:
        """Let all holds answer."""
        await asyncio.sleep(0)  # a handler that awaits nothing runs at once: before a hold that has just come
        self.released.set()
        self.released = asyncio.Event()

    @handler
    async def forbidden(self) -> int:
        """A method that no policy line allows to anybody but the client: it counts a thousand."""
        self.total += 1000
        return self.total
