"""The recipient: each run of a method leaves a line in a file that outlives it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from tlsrt import Component, handler


class Ledger(Component):
    """Writes down the name of each call that it runs, before it does anything else."""

    async def start(self) -> None:
        self._lines = os.open(self.state / "ran", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _note(self, name: str) -> None:
        os.write(self._lines, f"{name}\n".encode())

    @handler
    async def run(self, name: str, hold_s: float) -> str:  # type: ignore[override]
        """A method that must not run twice."""
        self._note(name)
        await asyncio.sleep(hold_s)
        return name

    @handler(idempotent=True)
    async def run_twice(self, name: str, hold_s: float) -> str:
        """A method that may."""
        self._note(name)
        await asyncio.sleep(hold_s)
        return name

    @handler
    async def count(self, name: str, items: int) -> AsyncIterator[int]:
        """So many numbers, a little apart."""
        self._note(name)
        for number in range(items):
            yield number
            await asyncio.sleep(0.001)

    @handler
    async def sum(self, name: str, data: AsyncIterator[bytes]) -> int:
        """How many bytes come."""
        self._note(name)
        size = 0
        async for part in data:
            size += len(part)
        return size

    @handler
    async def lengths(self, name: str, data: AsyncIterator[bytes]) -> AsyncIterator[int]:
        """How long each part is, as it comes; no byte ends it."""
        self._note(name)
        async for part in data:
            if not part.strip():
                return
            yield len(part)

    @handler
    async def measure(self, data: str) -> int:
        """How long it is."""
        return len(data)

    @handler
    async def give(self, size: int) -> bytes:
        """So many bytes."""
        return bytes(size)

    @handler
    async def tell(self, number: int) -> None:
        """Publish a number."""
        self.publish("numbers", number)
