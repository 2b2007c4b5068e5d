"""The last hour and day of some numbers: bounded, in memory. Pure; time is an argument.

A sample goes into a bucket of each span, and a bucket knows the least, the most and the mean of what came. A bucket
without a sample is not there: a host that was down, asleep or did not answer leaves a gap.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Span = Literal["hour", "day"]
PERIODS_S: Mapping[Span, int] = {"hour": 10, "day": 300}
LASTS_S: Mapping[Span, int] = {"hour": 3600, "day": 86400}
_COUNT, _LEAST, _MOST, _SUM, _WIDTH = range(5)  # of a series in a bucket


class NumberHistory:
    """Numbers of the last hour and day. `series` are their names; the clock never goes back."""

    def __init__(self, series: Sequence[str]) -> None:
        self._series = tuple(series)
        self._spans: dict[Span, deque[tuple[int, array[float]]]] = {
            span: deque(maxlen=LASTS_S[span] // period_s) for span, period_s in PERIODS_S.items()
        }

    def is_due(self, now_s: float) -> bool:
        """Tell whether a sample is wanted: once for each bucket of the shortest span."""
        kept = self._spans["hour"]
        return not kept or now_s // PERIODS_S["hour"] > kept[-1][0]

    def add(self, values: Sequence[float | None], now_s: float) -> None:
        """Take one sample, a value for each series; None is one that is not known."""
        for span, period_s in PERIODS_S.items():
            kept, number = self._spans[span], int(now_s // period_s)
            if not kept or kept[-1][0] != number:
                kept.append((number, array("d", bytes(8 * _WIDTH * len(self._series)))))
            _add(kept[-1][1], values)

    def told(self, span: Span, now_s: float) -> dict[str, Any]:
        """Return `period_s`, `lasts_s`, `ages_s` of the buckets' beginnings, and the `series`.

        Of each series the lists `least`, `most` and `mean` stand beside the ages, None for a bucket without a value.
        """
        period_s, lasts_s = PERIODS_S[span], LASTS_S[span]
        first = (now_s - lasts_s) // period_s
        kept = [(number, bucket) for number, bucket in self._spans[span] if number >= first]
        series = {
            name: {
                "least": [_told(bucket, at, _LEAST) for _, bucket in kept],
                "most": [_told(bucket, at, _MOST) for _, bucket in kept],
                "mean": [_told(bucket, at, _SUM) for _, bucket in kept],
            }
            for at, name in enumerate(self._series)
        }
        ages = [max(0, round(now_s - number * period_s)) for number, _ in kept]
        return {"period_s": period_s, "lasts_s": lasts_s, "ages_s": ages, "series": series}


def _add(bucket: array[float], values: Sequence[float | None]) -> None:
    for at, value in enumerate(values):
        if value is None:
            continue
        first = at * _WIDTH
        is_first = not bucket[first + _COUNT]
        bucket[first + _COUNT] += 1
        bucket[first + _LEAST] = value if is_first else min(bucket[first + _LEAST], value)
        bucket[first + _MOST] = value if is_first else max(bucket[first + _MOST], value)
        bucket[first + _SUM] += value


def _told(bucket: array[float], at: int, what: int) -> float | int | None:
    count = bucket[at * _WIDTH + _COUNT]
    if not count:
        return None
    value = bucket[at * _WIDTH + what] / (count if what == _SUM else 1)
    return round(value) if value >= 1000 else round(value, 2)
