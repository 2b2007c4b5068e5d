"""A component that sleeps where nothing wakes it, spins, or hears nothing any more: what a process at rest can hide."""

import asyncio
import math
import select
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tlsrt import Component, every, handler

AFTER_S = 6.0  # so that its process has come to rest
ROUND_S = 0.5  # in which the supervisor looks once, and asks who has run for a beat


class Sleeper(Component):
    """Each handler answers, and goes wrong later; but for those of its timer, which only lets it rest."""

    def __init__(self) -> None:
        self.end = math.inf
        self.late_s: list[float] = []
        self.rung = asyncio.Event()

    def until_end_s(self) -> float:
        return self.end - time.monotonic()

    @every("1s", idle_s=until_end_s)
    async def look_for_end(self) -> None:
        """Note by how much it is late."""
        self.late_s.append(time.monotonic() - self.end)
        self.end = math.inf
        self.rung.set()

    @handler
    async def ring_after(self, seconds: float) -> None:
        """Have something for the timer to do."""
        self.end = time.monotonic() + seconds

    @handler
    async def ring_after_a_stir(self, seconds: float) -> None:
        """Run twice while the process rests, half a second apart; the second time gives the timer something to do."""

        def stir() -> None:
            asyncio.get_running_loop().call_later(ROUND_S, ring)

        def ring() -> None:
            self.end = time.monotonic() + seconds

        self._later(stir)

    @handler
    async def lateness(self) -> list[float]:
        """Return by how many seconds each run of the timer was late."""
        return self.late_s

    @handler
    async def rings(self) -> AsyncIterator[str]:
        """Say each time that the timer runs, from now on."""
        while True:
            self.rung.clear()
            await self.rung.wait()
            yield "rung"

    def _later(self, deed: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(AFTER_S, deed)

    @handler
    async def ping(self) -> str:
        """Answer."""
        return "pong"

    @handler
    async def spin(self) -> None:
        """Compute for ever."""

        def spin() -> None:
            while True:
                pass

        self._later(spin)

    @handler
    async def wait_elsewhere(self) -> None:
        """Wait in epoll_wait(2) as an event loop does, in a set that is empty."""
        self._later(lambda: select.epoll().poll())

    @handler
    async def wait_nowhere(self) -> None:
        """Hold the thread of the event loop in a lock."""
        self._later(lambda: threading.Event().wait())

    @handler
    async def hear_nothing(self) -> None:
        """Take all descriptors out of the set of the event loop, and sleep in it."""

        def deafen() -> None:
            loop: Any = asyncio.get_running_loop()
            for descriptor in list(loop._selector.get_map()):
                loop.remove_reader(descriptor)

        self._later(deafen)
