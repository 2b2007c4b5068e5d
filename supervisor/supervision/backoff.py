"""When a dead process is started again, and how many deaths are too many. Pure: time and chance come in as arguments.

The first restart after a healthy time comes at once. The delays of the next ones are drawn evenly from nothing up to a
bound that doubles (full jitter: Brooker, "Exponential Backoff And Jitter", AWS 2015), so that what fails together does
not come back together, again and again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tlsrt.backoff import bound_of
from tlsrt.config.supervision import RestartConfig


class RestartBackoff:
    """The deaths of one process in a row. `chance` returns a number from 0 to 1, a new one each time."""

    def __init__(self, policy: RestartConfig, chance: Callable[[], float]) -> None:
        self.policy = policy
        self._chance = chance
        self._row = 0  # deaths in a row, none of them after a healthy time

    def died(self, active_s: float) -> float:
        """Note a death after `active_s` of service; return the delay until the next start, in seconds."""
        if active_s >= self.policy.healthy_s:
            self._row = 0
        self._row += 1
        return self.bound_s * self._chance() if self._row > 1 else 0.0

    @property
    def bound_s(self) -> float:
        """Return the longest that the last delay may have been."""
        if self._row <= 1:
            return 0.0
        return bound_of(self._row - 2, self.policy.first_s, self.policy.cap_s)

    def forget(self) -> None:
        """Begin anew."""
        self._row = 0


class RestartIntensity:
    """The deaths of one group within the last `window_s`; `now` is in seconds of any monotonic clock."""

    def __init__(self, policy: RestartConfig) -> None:
        self.policy = policy
        self._deaths: deque[float] = deque(maxlen=policy.deaths)

    def died(self, now: float) -> bool:
        """Note a death; tell whether it was one too many."""
        self._deaths.append(now)
        return len(self._deaths) == self.policy.deaths and now - self._deaths[0] < self.policy.window_s

    def count(self, now: float) -> int:
        """Return how many deaths count now."""
        return sum(now - death < self.policy.window_s for death in self._deaths)

    def forget(self) -> None:
        """Begin anew."""
        self._deaths.clear()
