"""A component that runs what an attacker wants, in the place of the loop's own work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from captured import bombs, reach  # type: ignore[import-not-found]
from tlsrt import Component, handler


class Script(Component):
    """Any of the tries of `reach`, and of the bombs of `bombs`."""

    @handler
    async def attempt(self, name: str, world: dict[str, Any]) -> Any:
        """Try something, and say what came of it."""
        return (reach.TRIES | reach.ENDS)[name](world)

    @handler
    async def bomb(self, name: str, number: int) -> Any:
        """Use up something, as far as it goes, and let it go again; `number` says for how long or how much."""
        self.log.warning("bomb %s", name)
        result = bombs.BOMBS[name](number)
        return await result if asyncio.iscoroutine(result) else result

    @handler
    async def hear(self, kind: str) -> AsyncIterator[dict[str, Any]]:
        """Follow one kind of the host's events, as far as policy lets us."""
        async for event in self.stream("primary/events", kind, timeout_s=120.0):
            yield event

    @handler
    async def read_file(self, path: str) -> int:
        """Read a file; returns how many bytes it has."""
        with open(path, "rb") as file:
            return len(file.read())

    @handler(idempotent=True)
    async def poke(self, value: int) -> int:
        """Answer with the same number."""
        return value
