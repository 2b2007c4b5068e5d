"""A component that a page calls: a value back, numbers as fast as they are taken, and how many bytes came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Component, handler


class Shown(Component):
    """Counts what it runs."""

    def __init__(self) -> None:
        self._runs = 0

    @handler
    async def echo(self, value: Any) -> Any:
        """Return the value."""
        self._runs += 1
        return value

    @handler
    async def runs(self) -> int:
        """How often `echo` has run."""
        return self._runs

    @handler
    async def numbers(self, count: int) -> AsyncIterator[int]:
        """So many numbers."""
        for number in range(count):
            yield number

    @handler
    async def size(self, name: str, data: AsyncIterator[bytes]) -> int:
        """How many bytes come."""
        return sum([len(part) async for part in data])
