"""Steps of the host's clocks: whether it was suspended, or its wall clock was set, since the last look. Pure.

Processes that rest wait by CLOCK_MONOTONIC for their timers (epoll_wait(2)), which go by CLOCK_BOOTTIME and by the wall
clock. Both differ from the first by an amount that only these two change, and by what a clock is slewed.
"""

from __future__ import annotations

import time
from typing import NamedTuple

LEAST_S = 0.2  # a slewed clock comes to it in some minutes at most (adjtime(3): 500 us a second)


class Clocks(NamedTuple):
    """The clocks of one moment, in seconds: clock_gettime(2)."""

    monotonic: float
    boottime: float
    wall: float


def read_clocks() -> Clocks:
    """Read the clocks of the host."""
    return Clocks(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


class ClockSteps:
    """Compares the clocks of one moment with those of the last step."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def look(self, clocks: Clocks) -> bool:
        """Tell whether a clock has gone another way than the monotonic one since the last step."""
        now = (clocks.boottime - clocks.monotonic, clocks.wall - clocks.monotonic)
        last = self._last
        if last is not None and all(abs(one - other) < LEAST_S for one, other in zip(now, last, strict=True)):
            return False
        self._last = now
        return last is not None
