"""Pauses between attempts, so that many clients that lost the same host do not come back as one. Pure.

Full jitter: each pause is drawn evenly from nothing up to a bound that doubles, so a thousand clients are spread
evenly over it however exactly they all lost their host at the same moment.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """The pauses of one client, in seconds; `chance` gives a number from 0 up to 1."""

    def __init__(self, first_s: float, cap_s: float, chance: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._chance = chance
        self._bound_s = first_s

    def reset(self) -> None:
        """The last attempt was a success."""
        self._bound_s = self._first_s

    def pause(self, least_s: float = 0.0) -> float:
        """Return how long to wait now; the next one may be twice as long.

        With `least_s` it is at least that, and up to twice that: whoever was told to stay away does not come sooner,
        nor all at once.
        """
        pause = self._chance() * self._bound_s
        self._bound_s = min(self._cap_s, self._bound_s * 2)
        return max(pause, least_s * (1 + self._chance()))
