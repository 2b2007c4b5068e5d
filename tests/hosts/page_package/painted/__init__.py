"""Components that bring pages: one that uses what it may, and one that tries everything else and tells how it went."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from tlsrt import Component, handler


class Painted(Component):
    """A lamp with a page."""

    topics: ClassVar[Mapping[str, str]] = {"shone": "it was switched"}

    def __init__(self) -> None:
        self.level = 1
        self.heard: list[str] = []
        self.place = ""

    @handler(idempotent=True)
    async def put(self, place: str) -> None:
        """Say where the host's door is, HOST:PORT, which a page is not told."""
        self.place = place

    @handler(idempotent=True)
    async def where(self) -> str:
        """That place."""
        return self.place

    @handler(idempotent=True)
    async def read(self) -> int:
        """How bright it is."""
        return self.level

    @handler
    async def shine(self, level: int) -> int:
        """Make it so bright."""
        self.level = level
        self.publish("shone", level)
        return level

    @handler(idempotent=True)
    async def note(self, text: str) -> None:
        """Keep a line."""
        self.heard.append(text)

    @handler(idempotent=True)
    async def noted(self) -> list[str]:
        """The lines."""
        return self.heard

    @handler
    async def count(self) -> AsyncIterator[int]:
        """Numbers without an end."""
        number = 0
        while True:
            number += 1
            yield number


class Hostile(Painted):
    """The same with a page that attacks."""
