"""An allowance: so much at once, and so much a second after that. Pure: time comes in as an argument, in seconds."""

from __future__ import annotations


class Bucket:
    """A token bucket. It is full at the beginning."""

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._left = float(burst)
        self._at = now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take some of it; False, and nothing taken, if not enough is left."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True
