"""Components that compute as long as they are told, and processor shares with a clock that only work moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fakes.linked_components import CONSOLE, STORE, LinkedComponents, ProcessorNotes
from tlsrt import Component, handler
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.loops.dispatch.processor_shares import ProcessorShares


class Stage:
    """Shares with a clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.batch = WriteBatch()
        self.notes = ProcessorNotes()
        self.shares = ProcessorShares(self.batch, self.notes, lambda: self.now)
        self.done: list[tuple[str, float]] = []

    def read(self, *requests: tuple[str, float]) -> None:
        """Take requests (subject, seconds of work) of one read."""
        self.batch.begin_turn()
        for subject, cost in requests:
            work = self._work(subject, cost)
            if self.shares.must_wait(subject):
                self.shares.wait(subject, subject.encode(), work)
            else:
                work()
                self.shares.used(subject)
        self.batch.end()

    def _work(self, subject: str, cost: float) -> Callable[[], None]:
        def work() -> None:
            self.now += cost
            self.done.append((subject, self.now))

        return work


def staged(test: Callable[[Stage], Any]) -> None:
    async def main() -> None:
        await test(Stage())

    asyncio.run(main())


def burning(test: Callable[[LinkedComponents], Any]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await test(LinkedComponents(Burner))

    asyncio.run(main())


class Burner(Component):
    """Computes for as long as it is told, at once, in steps, and in a stream."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int]] = []

    def _burn(self, number: int, cost: float) -> int:
        self.ran.append((self.caller, number))
        end = time.perf_counter() + cost
        while time.perf_counter() < end:
            pass
        return number

    @handler
    async def at_once(self, number: int, cost: float) -> int:
        return self._burn(number, cost)

    @handler
    async def in_steps(self, number: int, cost: float) -> int:
        for _ in range(3):
            self._burn(number, cost / 3)
            await asyncio.sleep(0)
        return number

    @handler
    async def items(self, number: int, cost: float) -> AsyncIterator[int]:
        for at in range(number):
            yield self._burn(at, cost)

    @handler
    async def swallow(self, data: AsyncIterator[bytes]) -> int:
        self.ran.append((self.caller, -1))
        return sum([len(part) async for part in data])


def held(wired: LinkedComponents) -> Any:
    """Have the console's requests wait for good."""
    wired.shares.must_wait(CONSOLE)
    wired.shares._is_scheduled = True  # by no one
    wired.shares.wait(CONSOLE, b"", lambda: None)
    return wired.hosts[STORE].responder


async def reached(responder: Any, count: int) -> None:
    while len(responder._held._headers) < count:
        await asyncio.sleep(0)


def let_go(wired: LinkedComponents) -> None:
    wired.shares._is_scheduled = False
    wired.shares._schedule()
