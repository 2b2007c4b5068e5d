"""Who takes his time, and remembers which of his callers left before he was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tlsrt import Component, handler


class Patient(Component):
    """Waits, counts and remembers."""

    async def start(self) -> None:
        self.begun: list[str] = []
        self.left: list[str] = []
        self.released = asyncio.Event()

    @handler(idempotent=True)
    async def wait(self, name: str, seconds: float) -> str:
        """Answer after a while."""
        self.begun.append(name)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.left.append(name)
            raise
        return name

    @handler(idempotent=True)
    async def hold(self, name: str) -> str:
        """Answer after `release`."""
        self.begun.append(name)
        await self.released.wait()
        return name

    @handler
    async def release(self) -> None:
        """Let all holds answer."""
        self.released.set()

    @handler
    async def numbers(self, name: str) -> AsyncIterator[int]:
        """Count, without an end."""
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            self.left.append(name)

    @handler(idempotent=True)
    async def seen(self) -> dict[str, list[str]]:
        """Who came, and who left before he was answered."""
        return {"begun": self.begun, "left": self.left}
