"""How often one may ring, and how fast pieces of another host may come. Pure."""

from __future__ import annotations

from collections import deque

from tlsrt import Busy

RINGS_PER_MINUTE = 12


class RingRates:
    """The last attempts of each who rings. A host is one for all of its own, whom it names as it likes."""

    def __init__(self) -> None:
        self._rung_at: dict[str, deque[float]] = {}  # as many as there are clients, components and hosts

    def charge(self, caller: str, now_s: float) -> None:
        """Count an attempt of an address, at a monotonic time. Raises Busy for one too many."""
        _, at, host = caller.partition("@")
        times = self._rung_at.setdefault(f"@{host}" if at else caller, deque(maxlen=RINGS_PER_MINUTE))
        if len(times) == RINGS_PER_MINUTE and now_s - times[0] < 60.0:
            who = f"the host {host}" if at else caller
            raise Busy(f"{who} has rung {RINGS_PER_MINUTE} times within a minute")
        times.append(now_s)


class Pieces:
    """A token bucket of pieces, full at the beginning: `burst` at once, and `per_s` a second."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._at_s = burst, 0.0

    def take(self, now_s: float) -> bool:
        """Take one at a monotonic time; False if none is left."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
