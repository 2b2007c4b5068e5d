"""A queue of jobs, and handlers that never end by themselves: who is inside of one is told by another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from tlsrt import Component, handler


class Jobs(Component):
    """What runs has a name, until it ends or is cancelled."""

    async def start(self) -> None:
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._running: list[str] = []
        self._nothing_runs = asyncio.Event()
        self._nothing_runs.set()
        self._ended_at = 0.0

    @contextmanager
    def _inside(self, name: str) -> Iterator[None]:
        self._running.append(name)
        self._nothing_runs.clear()
        try:
            yield
        finally:
            self._running.remove(name)
            self._ended_at = time.monotonic()
            if not self._running:
                self._nothing_runs.set()

    @handler
    async def running(self) -> list[str]:
        """The names of what runs, in order."""
        return sorted(self._running)

    @handler
    async def ended_at(self) -> float:
        """When the last of what ran has ended, in s of CLOCK_MONOTONIC; waits until nothing runs."""
        await self._nothing_runs.wait()
        return self._ended_at

    @handler
    async def put(self, jobs: list[int]) -> int:
        """Put these into the queue; return how many it has."""
        for job in jobs:
            self._queue.put_nowait(job)
        return self._queue.qsize()

    @handler
    async def work(self, name: str) -> AsyncIterator[int]:  # type: ignore[override]  # a handler of that name
        """Each job, once it is there: what is given to one worker no other gets."""
        with self._inside(name):
            while True:
                yield await self._queue.get()

    @handler
    async def hold(self, name: str) -> None:
        """Wait for what never comes."""
        with self._inside(name):
            await asyncio.get_running_loop().create_future()

    @handler
    async def swallow(self, name: str, data: AsyncIterator[bytes]) -> int:
        """Take all parts of an upload."""
        with self._inside(name):
            return sum([len(part) async for part in data])

    @handler
    async def ask(self, name: str, other: str) -> None:
        """Call another one, which holds on."""
        with self._inside(name):
            await self.call(other, "hold", f"for {name}", timeout_s=100)
