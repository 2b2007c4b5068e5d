"""How often one may ring: so many times within a minute. Pure."""

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
