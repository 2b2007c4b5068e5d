"""How many frames a client may send a second, with all of its connections together. Pure.

A token bucket that looks at the clock only when it is empty: on the way of every frame there is one subtraction, in
`PrimaryLoop.frame`. What was saved before the last look and what has come in since may so be spent at once; a bucket
holds half a second's worth, so that this is a second's. What comes over the rate is not dropped: a request is answered
`busy` and costs nothing, and any other frame passes and is owed for, while its sender is read more slowly.
"""

from __future__ import annotations

from collections.abc import Mapping

DEBT_S = 10  # what may be owed, in seconds of the rate: nobody waits for longer


class FrameRate:
    """One bucket. Take from `left`, and ask `has_more` when that is below 0. Times are BOOTTIME in ms."""

    __slots__ = ("_at", "_most", "_rest", "left", "per_s")

    def __init__(self, per_s: int, now: int) -> None:
        self.per_s = per_s
        self._most = max(1, per_s // 2)
        self._at = now
        self._rest = 0  # of a frame, in thousandths
        self.left = self._most  # whole frames: it is counted down for every one

    def has_more(self, now: int) -> bool:
        """Fill it up; tell whether there was enough for the frame that was taken last."""
        gained, self._rest = divmod(max(0, now - self._at) * self.per_s + self._rest, 1000)
        self.left = min(self._most, self.left + 1 + gained) - 1
        self._at = now
        return self.left >= 0

    def give_back(self) -> None:
        """Take back the last frame: it has not passed."""
        self.left += 1

    def owe(self) -> float:
        """Let the last frame pass all the same; return for how many seconds its sender should wait."""
        self.left = max(self.left, -DEBT_S * self.per_s)
        return -self.left / self.per_s


class FrameRates:
    """The buckets of all clients. Only granted sessions send frames, so there are as many as clients."""

    def __init__(self, per_s: int, per_s_of: Mapping[str, int]) -> None:
        self._per_s = per_s
        self._per_s_of = {f"client/{name}": rate for name, rate in per_s_of.items()}
        self._rates: dict[str, FrameRate] = {}

    def of(self, subject: str, now: int) -> FrameRate:
        """Return the bucket of a client, the same for each of its connections; `now` is BOOTTIME in ms."""
        rate = self._rates.get(subject)
        if rate is None:
            rate = self._rates[subject] = FrameRate(self._per_s_of.get(subject, self._per_s), now)
        return rate
