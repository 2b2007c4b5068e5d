"""Models that packages of PyPI ship, as a component: what a file is, where there is speech, and a heavy job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from tlsrt import Component, Length, Range, handler, worker_of


@dataclass(frozen=True)
class Kind:
    """What kind of content that is, and how sure the model is."""

    label: str
    mime: str
    score: float


class Models(Protocol):
    """The functions of the worker, tlsrt_ai.models."""

    async def identify(self, data: bytes) -> Kind: ...
    def speech(self, audio: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]: ...
    async def burn(self, seconds: float, threads: int) -> float: ...
    async def multiply(self, seconds: float, size: int) -> float: ...
    def count(self, to: int, pause_ms: int) -> AsyncIterator[dict[str, int]]: ...
    async def take(self, mb: int) -> int: ...


class Ai(Component):
    """Offline models."""

    models = worker_of("models", Models, idle="5m")

    @handler(idempotent=True)
    async def identify(self, data: Annotated[bytes, Length(200_000)]) -> Kind:
        """What kind of content that is, and how sure."""
        return await self.models.identify(data)

    @handler
    async def speech(self, audio: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
        """16 kHz mono s16le in, a probability for each chunk out."""
        async for heard in self.models.speech(audio):
            yield heard

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
