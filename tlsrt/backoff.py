"""Pauses between attempts: exponential backoff with full jitter. Pure.

Each pause is drawn evenly from nothing up to a bound that doubles (Brooker, "Exponential Backoff And Jitter", AWS
2015), so that a thousand clients that lost the same host at the same moment do not come back as one, and processes
that fail together are not started together again and again.
"""

from __future__ import annotations

import random
from collections.abc import Callable

_DOUBLINGS_MAX = 32  # far above any cap; a larger power would overflow a float one day


def bound_of(attempt: int, first_s: float, cap_s: float) -> float:
    """Return the longest pause after so many attempts before this one, in seconds."""
    return float(min(cap_s, first_s * 2 ** min(attempt, _DOUBLINGS_MAX)))


class Backoff:
    """The pauses of one who tries again, in seconds; `chance` gives a number from 0 up to 1."""

    def __init__(self, first_s: float, cap_s: float, chance: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._chance = chance
        self._attempt = 0

    def reset(self) -> None:
        """Begin anew: the last attempt was a success."""
        self._attempt = 0

    @property
    def bound_s(self) -> float:
        """Return the longest that the next pause may be."""
        return bound_of(self._attempt, self._first_s, self._cap_s)

    def pause(self, least_s: float = 0.0) -> float:
        """Return how long to wait now; the next pause may be twice as long.

        With `least_s` it is at least that, and up to twice that: who was told to stay away does not come sooner, and
        many who were do not come all at once.
        """
        pause = self._chance() * self.bound_s
        self._attempt += 1
        return max(pause, least_s * (1 + self._chance())) if least_s else pause
