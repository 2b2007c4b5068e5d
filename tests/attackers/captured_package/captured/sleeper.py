"""A component that sleeps where nothing wakes it, spins, or hears nothing any more: what a process at rest can hide."""

import asyncio
import select
import threading
from collections.abc import Callable
from typing import Any

from tlsrt import Component, handler

AFTER_S = 6.0  # so that its process has come to rest


class Sleeper(Component):
    """Each handler answers, and goes wrong later."""

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
