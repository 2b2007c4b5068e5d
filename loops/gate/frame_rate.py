"""Frame rate: frames that a client may send a second, with all of its connections together. Pure.

On the way of every frame, in `Router.forward_client`, there is one comparison and one subtraction; the clock is read
only when the bucket is empty. It holds half a second's worth, so that a second's can be spent at once. What comes over
the rate is not dropped: a request is answered `busy` and costs nothing, and any other frame passes and is owed for,
while its sender is read more slowly.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.bounded_table import NEVER, BoundedTable, WhenFull
from tlsrt.rate_limit import Bucket

CLIENTS_MAX = 65_536  # with a connection; the door has no more of these
DEBT_S = 10  # what may be owed, in seconds of the rate: no client waits for longer


def frame_rate(per_s: int) -> Bucket:
    """Return the bucket of one client, for BOOTTIME in ms."""
    return Bucket(max(1, per_s // 2), per_s, clock_hz=1000, debt=DEBT_S * per_s)


class _ClientRate:
    """The bucket of one client, and how many connections share it."""

    __slots__ = ("bucket", "connections")

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.connections = 0


class FrameRates:
    """The buckets of all clients. A client without a connection is forgotten once its bucket is full again."""

    def __init__(self, per_s: int, per_s_of: Mapping[str, int]) -> None:
        self._per_s = per_s
        self._per_s_of = {f"client/{name}": rate for name, rate in per_s_of.items()}
        self._rates: BoundedTable[str, _ClientRate] = BoundedTable(CLIENTS_MAX, 1, WhenFull.REFUSE)

    def __len__(self) -> int:
        return len(self._rates)

    def of(self, subject: str, now: int) -> Bucket:
        """Return the bucket of a client for one more connection, the same for each; `now` is BOOTTIME in ms."""
        self._rates.expire(now)
        row = self._rates.get(subject)
        if row is not None:
            rate = row.value
            self._rates.touch(subject, NEVER)
        else:
            rate = _ClientRate(frame_rate(self._per_s_of.get(subject, self._per_s)))
            rate.bucket.refill(now)  # else all the time before its first frame would count as saved
            self._rates.add(subject, rate, subject, now)
        rate.connections += 1
        return rate.bucket

    def release(self, subject: str, now: int) -> None:
        """Note that one of a client's connections has closed."""
        row = self._rates.get(subject)
        if row is None:
            return
        row.value.connections -= 1
        if row.value.connections <= 0:
            bucket = row.value.bucket
            missing = bucket.burst - bucket.refill(now)
            self._rates.touch(subject, now + missing / bucket.per_s * 1000)
