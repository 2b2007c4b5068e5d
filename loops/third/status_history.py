"""The last hour and day of a host in numbers: bounded, in memory. Pure; time is an argument.

A sample goes into a bucket of each span, and a bucket knows the least, the most and the sum of what came. A bucket
without a sample is not there: a host that was down, asleep or did not answer leaves a gap.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

SERIES = ("frames", "refused", "memory", "lateness", "active")  # per s, per s, bytes, ms, processes
Span = Literal["hour", "day"]
PERIODS_S: Mapping[Span, int] = {"hour": 10, "day": 300}
LASTS_S: Mapping[Span, int] = {"hour": 3600, "day": 86400}
_WIDTH = len(SERIES)


class Buckets:
    """Buckets of one length, the oldest first; those of before are dropped."""

    def __init__(self, period_s: int, lasts_s: int) -> None:
        self.period_s = period_s
        self._lasts_s = lasts_s
        self._kept: deque[tuple[int, array[float]]] = deque(maxlen=lasts_s // period_s)  # number, and what it knows

    def add(self, now_s: float, values: Sequence[float]) -> None:
        """Take one sample; `now_s` is of a clock that never goes back."""
        number = int(now_s // self.period_s)
        if not self._kept or self._kept[-1][0] != number:
            self._kept.append((number, array("d", [1, *values, *values, *values])))
            return
        bucket = self._kept[-1][1]
        bucket[0] += 1
        for at, value in enumerate(values, 1):
            bucket[at] = min(bucket[at], value)
            bucket[at + _WIDTH] = max(bucket[at + _WIDTH], value)
            bucket[at + 2 * _WIDTH] += value

    def told(self, now_s: float) -> dict[str, Any]:
        """Return `ages_s` of the buckets' beginnings, and of each series `least`, `most` and `mean` beside them."""
        first = (now_s - self._lasts_s) // self.period_s
        kept = [(number, bucket) for number, bucket in self._kept if number >= first]
        series = {
            name: {
                "least": [_short(bucket[at]) for _, bucket in kept],
                "most": [_short(bucket[at + _WIDTH]) for _, bucket in kept],
                "mean": [_short(bucket[at + 2 * _WIDTH] / bucket[0]) for _, bucket in kept],
            }
            for at, name in enumerate(SERIES, 1)
        }
        ages = [max(0, round(now_s - number * self.period_s)) for number, _ in kept]
        return {"period_s": self.period_s, "lasts_s": self._lasts_s, "ages_s": ages, "series": series}


class StatusHistory:
    """Makes samples of documents of the status, and keeps them."""

    def __init__(self) -> None:
        self._spans = {span: Buckets(PERIODS_S[span], LASTS_S[span]) for span in PERIODS_S}
        self._before: Mapping[tuple[str, Any], tuple[int, int]] | None = None  # of each life: frames, and refused ones
        self._sampled_at = 0.0

    def is_due(self, now_s: float) -> bool:
        """Tell whether a sample is wanted: once for each bucket of the shortest span."""
        return self._before is None or now_s // PERIODS_S["hour"] > self._sampled_at // PERIODS_S["hour"]

    def take(self, document: Mapping[str, Any], now_s: float) -> None:
        """Take one status. The first one says what is counted from, and is no sample."""
        loops = document["loops"]
        counts = {(one["name"], one["incarnation"]): (one["frames"]["in"], one["frames"]["refused"]) for one in loops}
        before, elapsed_s = self._before, now_s - self._sampled_at
        self._before, self._sampled_at = counts, now_s
        if before is None or elapsed_s <= 0:
            return
        grown = [0, 0]
        for life, counted in counts.items():  # another life counts from nothing
            for at, (now, then) in enumerate(zip(counted, before.get(life, (0, 0)), strict=True)):
                grown[at] += max(0, now - then)
        processes = [*loops, document["authority"]]
        values = (
            grown[0] / elapsed_s,
            grown[1] / elapsed_s,
            1024.0 * sum(one["memory_kib"] or 0 for one in processes),
            max((one["lateness_ms"] or 0.0 for one in processes), default=0.0),
            float(sum(one["state"] == "active" for one in loops)),
        )
        for buckets in self._spans.values():
            buckets.add(now_s, values)

    def told(self, span: Span, now_s: float) -> dict[str, Any]:
        """Return what is known of a span, see `Buckets.told`."""
        return self._spans[span].told(now_s)


def _short(value: float) -> float | int:
    return round(value) if value >= 1000 else round(value, 2)
