"""Samples of what changes by itself: one serves all who ask within a moment, and all who watch are woken together.

So what is read from the host, and how often, does not depend on how many ask for it. A sample says when it was taken.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

Sample = TypeVar("Sample")

FRESH_S = 0.05  # how old a sample may be that is given to one more
APART_S = 0.06  # between two of one watcher, at least: more than that, as a timer may be early by a little


class Samples(Generic[Sample]):
    """The samples of one source. Do not change one. `clock` is monotonic, in seconds."""

    def __init__(self, take: Callable[[], Sample], clock: Callable[[], float] = time.monotonic) -> None:
        self._take = take
        self._clock = clock
        self._last: tuple[float, Sample] | None = None
        self._ticks: dict[tuple[int, int], asyncio.Event] = {}  # by interval in ms and its multiple: who waits for it

    def now(self) -> Sample:
        """Return a sample that is at most FRESH_S old."""
        now = self._clock()
        if self._last is None or not 0 <= now - self._last[0] < FRESH_S:
            self._last = now, self._take()
        return self._last[1]

    async def every(self, interval_s: float) -> AsyncGenerator[Sample, None]:
        """Yield a sample now, and one at each multiple of `interval_s`, as all others with that interval get then."""
        yield self.now()
        interval_ms = max(1, round(interval_s * 1000))
        while True:
            await self._next_tick(interval_ms).wait()
            yield self.now()

    def _next_tick(self, interval_ms: int) -> asyncio.Event:
        """Return the event of the next multiple that is far enough away for another sample."""
        loop, interval_s = asyncio.get_running_loop(), interval_ms / 1000
        number = math.ceil((loop.time() + APART_S) / interval_s)
        tick = self._ticks.get((interval_ms, number))
        if tick is None:
            tick = self._ticks[interval_ms, number] = asyncio.Event()
            loop.call_at(number * interval_s, self._end_tick, interval_ms, number)
        return tick

    def _end_tick(self, interval_ms: int, number: int) -> None:
        self._ticks.pop((interval_ms, number)).set()
