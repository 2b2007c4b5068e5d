"""A component that uses all that the runtime offers for a life of its own, and does what a test tells it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Component, Failed, handler


class Bridge(Component):
    """Is ready when it is told, and has tasks that end when they are told."""

    def __init__(self) -> None:
        self.is_connected = True
        self.ended = asyncio.Event()
        self.pumped = 0
        self.is_broken = False
        self.stopped_first = True

    async def start(self) -> None:
        self.spawn(self.pump)
        self.spawn(self.waits, name="waits")

    async def stop(self) -> None:
        self.log.info("stop: the task has ended before: %s", self.stopped_first)

    def ready(self) -> str | None:
        return None if self.is_connected else "no broker"

    async def pump(self) -> None:
        self.pumped += 1
        self.set_status(f"pump {self.pumped}")
        await self.ended.wait()
        if not self.is_broken:
            self.ended.clear()
        raise OSError("broken pipe")

    async def waits(self) -> None:
        self.stopped_first = False
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped_first = True

    @handler(idempotent=True)
    async def pid(self) -> int:
        return os.getpid()

    @handler
    async def become(self, connected: bool) -> None:
        self.is_connected = connected

    @handler
    async def away(self, until: AsyncIterator[bytes]) -> None:
        """Be not ready as long as somebody sends."""
        self.is_connected = False
        async for _ in until:
            continue
        self.is_connected = True

    @handler
    async def break_pipe(self) -> int:
        self.ended.set()
        return self.pumped

    @handler
    async def break_always(self) -> None:
        self.is_broken = True
        self.ended.set()

    @handler
    async def forget(self) -> None:
        """Let a task die whose result is not looked at."""

        async def dies() -> None:
            raise Failed("unseen")

        asyncio.get_running_loop().create_task(dies(), name="forgotten")

    @handler(idempotent=True)
    async def figures(self) -> dict[str, Any]:
        return {"pumped": self.pumped}
