"""A heavy library, numpy, in a worker: jobs that compute, tell how far they are, and take memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Protocol

from tlsrt import Component, Range, handler, worker_of


class Models(Protocol):
    """The functions of the worker, tlsrt_ai.models."""

    async def burn(self, seconds: float, threads: int) -> float: ...
    async def multiply(self, seconds: float, size: int) -> float: ...
    def count(self, to: int, pause_ms: int) -> AsyncIterator[dict[str, int]]: ...
    async def take(self, mb: int) -> int: ...


class Ai(Component):
    """Heavy jobs."""

    models = worker_of("models", Models, idle="5m", cancel="200ms")

    @handler
    async def heavy_thread(self, seconds: Annotated[float, Range(0, 60)], threads: int = 4) -> float:
        """Burn processors, pure Python."""
        return await self.models.burn(seconds, threads)

    @handler
    async def heavy_numpy(self, seconds: Annotated[float, Range(0, 60)], size: int = 900) -> float:
        """The same in BLAS."""
        return await self.models.multiply(seconds, size)

    @handler
    async def count(self, to: int = 100, pause_ms: int = 50) -> AsyncIterator[dict[str, int]]:
        """A long job that tells how far it is."""
        async for done in self.models.count(to, pause_ms):
            yield done

    @handler
    async def big(self, mb: int) -> int:
        """Take memory, which is not this process's."""
        return await self.models.take(mb)
