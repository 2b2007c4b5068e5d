"""The watchdog of a run: a program that has not said WATCHDOG=1 in time has its run ended.

When the time is over, the event loop may have stood still, as on a host that is suspended or has much to do. What lies
unread in the socket was said in time. So all of it is heard before anything follows.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

_TURNS = 64  # of the event loop, for what lies there: some ten notices, of a few turns each


class WatchdogError(Exception):
    """A program has not said in time that it is alive."""


class Watchdog:
    """The time by which a run must say again that it is alive; without `seconds` it never must."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._due = 0.0
        self._has_begun = asyncio.Event()

    def ready(self) -> None:
        """Begin, unless it has begun: the run has said that it is ready."""
        if not self._has_begun.is_set():
            self.alive()

    def alive(self) -> None:
        """Begin anew: the run has said that it is alive."""
        if self._seconds is not None:
            self._due = asyncio.get_running_loop().time() + self._seconds
            self._has_begun.set()

    async def watch(self) -> NoReturn:
        """Wait for ever. Raises WatchdogError when it is late, and nothing of it lies unread."""
        await self._has_begun.wait()
        while True:
            await self._until_due()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self._left_s() <= 0:
                raise WatchdogError(f"no WATCHDOG=1 for {self._seconds:g} s")

    async def _until_due(self) -> None:
        while (left := self._left_s()) > 0:
            await asyncio.sleep(left)

    def _left_s(self) -> float:
        return self._due - asyncio.get_running_loop().time()
