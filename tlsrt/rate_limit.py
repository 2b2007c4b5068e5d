"""Rate limits: so much at once, and so much a second, for one subject or each of many. Pure.

Token buckets. The time comes in as an argument, of any monotonic clock, and decides nothing when it steps back.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Final

KEYS_MAX: Final = 4096
_ROUNDING: Final = 1e-9  # what a sum of fractions may lack


class Bucket:
    """A token bucket, full at the beginning. `clock_hz` is 1 for a clock in seconds, 1000 for one in milliseconds.

    Where every nanosecond counts, a caller may take from `left` itself while that is at least what it wants: the clock
    is looked at only when it is not. What came in meanwhile may then be spent at once, up to a second `burst`.
    """

    __slots__ = ("_at", "_clock_hz", "burst", "debt", "left", "per_s")

    def __init__(self, burst: float, per_s: float, *, clock_hz: int = 1, debt: float = 0.0) -> None:
        self.burst = float(burst)
        self.per_s = per_s
        self.debt = debt  # what may be owed at most
        self.left = float(burst)
        self._clock_hz = clock_hz
        self._at = 0.0

    def refill(self, now: float) -> float:
        """Add what has come in since the last time; return what is there now."""
        self.left = min(self.burst, self.left + max(0.0, now - self._at) * self.per_s / self._clock_hz)
        self._at = now
        return self.left

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take some of it; False, and nothing taken, if not enough is left."""
        if self.refill(now) < amount - _ROUNDING:
            return False
        self.left -= amount
        return True

    def owe(self, now: float, amount: float = 1.0) -> float:
        """Take some of it, even what is not there. Return for how many seconds it is owed, 0 if it was there."""
        self.left = max(self.refill(now) - amount, -self.debt)
        return max(0.0, -self.left / self.per_s)


class FairBucket:
    """A token bucket of many places, the last of which are for those that had few lately.

    A place has three keys: who, what, and both. It leaves of `reserve` one and a half times what its keys had, on the
    average, of the tokens of the last `window_s`: one that had two thirds leaves all of it, and a new one leaves none.
    So what floods takes what comes in, but for what others want. Memory is bounded by the tokens of that time.
    """

    __slots__ = ("_bucket", "_counts", "_given", "_reserve", "window_s")

    def __init__(self, burst: float, per_s: float, reserve: float) -> None:
        self._bucket = Bucket(burst, per_s)
        self._reserve = reserve
        self.window_s = max(1.0, burst / per_s) if per_s else 1.0
        self._given: deque[tuple[float, list[tuple[str, str]]]] = deque()
        self._counts = Counter[tuple[str, str]]()

    def take(self, now: float, who: str, what: str) -> bool:
        """Take a token for a place, `now` in seconds; False, and nothing taken, if there is none for it."""
        given, counts = self._given, self._counts
        while given and not 0.0 <= now - given[0][0] < self.window_s:
            for one in given.popleft()[1]:
                counts[one] -= 1
                if not counts[one]:
                    del counts[one]
        keys = [(who, ""), ("", what), (who, what)]
        share = sum(counts[one] for one in keys) / (len(given) * len(keys)) if given else 0.0
        if self._bucket.refill(now) < 1.0 + self._reserve * min(1.0, 1.5 * share) - _ROUNDING:
            return False
        self._bucket.left -= 1.0
        given.append((now, keys))
        counts.update(keys)
        return True


class Buckets:
    """A bucket of the same size for each key, in bounded memory.

    A bucket that is full again is forgotten, as it says nothing; if there are too many all the same, the one that was
    used longest ago is. A flood of keys only shortens the memory of those that come rarely.
    """

    def __init__(self, burst: float, per_s: float, *, debt: float = 0.0, keys_max: int = KEYS_MAX) -> None:
        self._burst = burst
        self._per_s = per_s
        self._debt = debt
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()  # the one that was used longest ago first

    def take(self, key: str, now: float, amount: float = 1.0) -> bool:
        """Take from the bucket of a key; False, and nothing taken, if not enough is left."""
        return self._of(key, now).take(now, amount)

    def owe(self, key: str, now: float, amount: float = 1.0) -> float:
        """Take from the bucket of a key, even what is not there. Return for how many seconds it is owed."""
        return self._of(key, now).owe(now, amount)

    def owed(self, key: str, now: float) -> float:
        """Return for how many seconds a key owes, 0 if it does not. Nothing is taken, and no bucket made."""
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None or bucket.refill(now) >= 0 else -bucket.left / bucket.per_s

    def give_back(self, key: str, amount: float = 1.0) -> None:
        """Put back what was taken for something that is not to be counted after all."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.left = min(bucket.burst, bucket.left + amount)

    def __len__(self) -> int:
        return len(self._buckets)

    def _of(self, key: str, now: float) -> Bucket:
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            self._forget(now)
            bucket = Bucket(self._burst, self._per_s, debt=self._debt)
        self._buckets[key] = bucket
        return bucket

    def _forget(self, now: float) -> None:
        while self._buckets:
            key, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) < self._keys_max and bucket.refill(now) < bucket.burst:
                return
            del self._buckets[key]
