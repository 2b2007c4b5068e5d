"""How often somebody may do something: a token bucket for each of many, in bounded memory. Pure.

A bucket that is full again is forgotten, as it says nothing; if there are too many all the same, the one that was used
longest ago is. Whoever fills this with addresses only shortens the memory of those that come rarely.
"""

from __future__ import annotations

from collections import OrderedDict

KEYS_MAX = 4096


class RateLimits:
    """Buckets by key: `rate` tokens a second, `burst` at most. Time is seconds of any monotonic clock."""

    def __init__(self, rate: float, burst: float, keys_max: int = KEYS_MAX) -> None:
        self._rate = rate
        self._burst = burst
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when; the oldest first

    def take(self, key: str, now: float, amount: int = 1) -> bool:
        """Take a token, or more; tell whether there were so many."""
        left, at = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        has = left >= amount
        self._buckets[key] = (left - amount if has else left, now)
        self._forget(now)
        return has

    def __len__(self) -> int:
        return len(self._buckets)

    def _forget(self, now: float) -> None:
        while self._buckets:
            key, (left, at) = next(iter(self._buckets.items()))
            if left + (now - at) * self._rate < self._burst and len(self._buckets) <= self._keys_max:
                return
            del self._buckets[key]
