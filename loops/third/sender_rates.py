"""How often each sender may be heard: a token bucket each, of a bounded number of senders. Pure."""

from __future__ import annotations

from collections import OrderedDict

SENDERS = 1024  # that are remembered; the one that was quiet longest has a full bucket by then


class SenderRates:
    """So many at once, and so many a second, for each sender. Times are of a monotonic clock in seconds."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was

    def take(self, sender: str, now: float) -> bool:
        """Tell whether a sender may be heard now, and count it."""
        left, then = self._left.pop(sender, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - then) * self._per_s)
        may = left >= 1.0
        self._left[sender] = (left - 1.0 if may else left, now)
        if len(self._left) > SENDERS:
            self._left.popitem(last=False)
        return may
