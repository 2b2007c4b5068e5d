"""A component that publishes all the time, and one that follows it and calls it, over whatever dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from tlsrt import CallError, Component, Gap, every, handler, peer


class Teller(Component):
    """Counts aloud; a process begins at 1."""

    def __init__(self) -> None:
        self.born = time.time_ns()
        self.number = 0

    @every("20ms")
    async def tell(self) -> None:
        self.number += 1
        self.publish("ticks", [self.born, self.number])

    @handler(idempotent=True)
    async def now(self) -> int:
        return self.number

    @handler
    async def count(self, up_to: int) -> AsyncIterator[int]:
        for number in range(up_to):
            yield number

    @handler
    async def size(self, name: str, data: AsyncIterator[bytes]) -> str:
        return f"{name}: {sum([len(part) async for part in data])}"


class Listener(Component):
    """Writes down what it hears."""

    teller = peer("third/teller", Teller)

    def __init__(self) -> None:
        self.ticks: list[Any] = []
        self.events: list[Any] = []

    async def start(self) -> None:
        self.spawn(self.hear_ticks)
        self.spawn(self.hear_host)

    async def hear_ticks(self) -> None:
        async for tick in self.follow("third/teller", "ticks"):
            self.ticks.append(None if isinstance(tick, Gap) else tick)

    async def hear_host(self) -> None:
        async for event in self.follow("primary/events", "lifecycle"):
            self.events.append(None if isinstance(event, Gap) else event["seq"])

    @handler(idempotent=True)
    async def heard(self, since: int = 0) -> dict[str, Any]:
        return {"ticks": self.ticks[since:], "events": self.events}

    @handler
    async def ask(self, seconds: float) -> dict[str, Any]:
        """Call the peer all the time; return how often, and what it raised."""
        errors: list[str] = []
        calls, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            calls += 1
            try:
                await self.teller.now()
            except CallError as error:
                errors.append(f"{error.code}: {error.message}")
            await asyncio.sleep(0.002)
        return {"calls": calls, "errors": errors}

    @handler
    async def use(self) -> dict[str, Any]:
        """Stream and upload."""

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield bytes(1000)

        return {"items": [item async for item in self.teller.count(5)], "size": await self.teller.size("x", parts())}
