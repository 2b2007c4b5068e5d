"""A component with a worker, and one that passes all that its callers say on to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

from tlsrt import Component, handler, worker_of
from working.model_types import Found  # type: ignore[import-not-found]


class Model(Protocol):
    async def echo(self, data: bytes) -> bytes: ...
    async def size(self, data: bytes) -> int: ...
    async def found(self, label: str, score: float = 0.5) -> Found: ...
    async def facts(self) -> dict[str, Any]: ...
    def count(self, to: int, pause_s: float = 0.0) -> AsyncIterator[int]: ...


class Typed(Component):
    """Calls a worker by its types."""

    model = worker_of("model", Model, idle="300ms")

    @handler
    async def found(self, label: str) -> Found:
        return await self.model.found(label)

    @handler
    async def size(self, sound: AsyncIterator[bytes]) -> int:
        return await self.model.size(b"".join([part async for part in sound]))

    @handler
    async def facts(self) -> dict[str, Any]:
        return await self.model.facts()

    @handler
    async def count(self, to: int) -> AsyncIterator[int]:
        async for number in self.model.count(to):
            yield number


class Open(Component):
    """Calls any function of a worker."""

    model = worker_of("model", idle="30s")
    broken = worker_of("broken")

    @handler
    async def one(self, function: str, args: list[Any], worker: str = "model") -> Any:
        return await getattr(self.model if worker == "model" else self.broken, function)(*args)

    @handler
    async def many(self, function: str, args: list[Any]) -> AsyncIterator[Any]:
        async for item in getattr(self.model, function)(*args):
            yield item

    @handler
    async def pour(self, function: str, parts: AsyncIterator[bytes]) -> Any:
        return await getattr(self.model, function)(parts)

    @handler
    async def pour_many(self, function: str, parts: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for item in getattr(self.model, function)(parts):
            yield item

    @handler
    async def give_up(self, function: str, args: list[Any], after_s: float) -> str:
        try:
            await asyncio.wait_for(getattr(self.model, function)(*args), after_s)
        except TimeoutError:
            return "given up"
        return "ended"

    @handler
    async def together(self, function: str, args: list[Any], times: int) -> list[str]:
        found = await asyncio.gather(
            *(getattr(self.model, function)(*args) for _ in range(times)), return_exceptions=True
        )
        return [type(one).__name__ for one in found]

    @handler
    async def time_calls(self, size: int, times: int) -> list[float]:
        data, took = b"x" * size, []
        for _ in range(times):
            began = time.perf_counter()
            await self.model.size(data)
            took.append(time.perf_counter() - began)
        return took
