"""Frame rate: frames that a client may send a second, with all of its connections together. Pure.

On the way of every frame, in `Router.forward_client`, there is one comparison and one subtraction; the clock is read
only when the bucket is empty. It holds half a second's worth, so that a second's can be spent at once. What comes over
the rate is not dropped: a request is answered `busy` and costs nothing, and any other frame passes and is owed for,
while its sender is read more slowly.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.rate_limit import Bucket

DEBT_S = 10  # what may be owed, in seconds of the rate: no client waits for longer


def frame_rate(per_s: int) -> Bucket:
    """Return the bucket of one client, for BOOTTIME in ms."""
    return Bucket(max(1, per_s // 2), per_s, clock_hz=1000, debt=DEBT_S * per_s)


class FrameRates:
    """The buckets of all clients. Only granted sessions send frames, so there are as many as clients."""

    def __init__(self, per_s: int, per_s_of: Mapping[str, int]) -> None:
        self._per_s = per_s
        self._per_s_of = {f"client/{name}": rate for name, rate in per_s_of.items()}
        self._rates: dict[str, Bucket] = {}

    def of(self, subject: str, now: int) -> Bucket:
        """Return the bucket of a client, the same for each of its connections; `now` is BOOTTIME in ms."""
        rate = self._rates.get(subject)
        if rate is None:
            rate = self._rates[subject] = frame_rate(self._per_s_of.get(subject, self._per_s))
            rate.refill(now)  # else all the time before its first frame would count as saved
        return rate
