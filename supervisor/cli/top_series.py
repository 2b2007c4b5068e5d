"""Numbers of the last hour and day as lines of bars: of processes, and as services have kept them. Pure.

What is not known is a gap, and no zero. What a service answers is judged before it is drawn: it may be captured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tlsrt.errors import TlsrtError
from tlsrt.text import ascii_only, size

SERIES_MOST, BUCKETS_MOST = 8, 1000  # of one service; those that come with tlsrt have 5 and 360
VALUE_MOST = 1e15
_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
_NAME, _VALUE, _BARS_LEAST = 10, 10, 6  # cells
_HEADS = ("last", "least", "most")


class NoNumbers(TlsrtError):
    """A service has answered with what is no history."""


class Bucket(NamedTuple):
    """What was seen in a part of the past that began `age_s` ago."""

    age_s: float
    least: float
    most: float
    mean: float


class Series(NamedTuple):
    """One kind of numbers over a span of the past, the oldest bucket first; parts without a value are not there."""

    name: str
    period_s: float
    lasts_s: float
    buckets: tuple[Bucket, ...]


class Past(NamedTuple):
    """One line of the table: a kind of numbers, over several spans."""

    name: str
    spans: tuple[Series, ...]  # the longest last


def sparkline(
    values: Sequence[float | None], width: int, least: float = 0.0, *, is_plain: bool = False
) -> str:  # fmt: skip
    """Return the last `width` values as bars, left empty where there are none yet, and where one is not known.

    The highest bar is the largest value, or `least` if all are below. `is_plain`: in ASCII.
    """
    bars = _PLAIN_BARS if is_plain else _BARS
    shown = list(values)[-width:]
    most = max([least, *(value for value in shown if value is not None)])
    return "".join(_bar(value, most, bars) for value in shown).rjust(width)


def history_untrusted(answer: object) -> tuple[Series, ...]:
    """Return the series of an answer to `history`. Raises NoNumbers for whatever is none, and cannot fail otherwise."""
    try:
        if not isinstance(answer, Mapping):
            raise ValueError
        period_s, lasts_s = _number(answer["period_s"]), _number(answer["lasts_s"])
        ages, series = answer["ages_s"], answer["series"]
        if not isinstance(series, Mapping) or not 1 <= period_s <= lasts_s or len(series) > SERIES_MOST:
            raise ValueError
        return tuple(Series(str(name), period_s, lasts_s, _buckets(ages, columns)) for name, columns in series.items())
    except (KeyError, TypeError, ValueError, OverflowError):
        raise NoNumbers("it answers with what is no history") from None


def columns_of(series: Series, width: int) -> list[float | None]:
    """Return the most of each of `width` equal parts of the span, the oldest first; None where nothing is known."""
    found: list[float | None] = [None] * width
    for bucket in series.buckets:
        middle_s = max(0.0, bucket.age_s - series.period_s / 2)
        at = width - 1 - int(middle_s * width / series.lasts_s)
        if 0 <= at < width:
            known = found[at]
            found[at] = bucket.most if known is None else max(known, bucket.most)
    return found


def table_lines(pasts: Sequence[Past], heads: Sequence[str], width: int, *, is_plain: bool = False) -> list[str]:
    """Return a line of titles and one for each kind of numbers: bars of each span, last, least and most of the longest.

    Bars of one line have one scale. What does not fit a narrow screen is left out: least, then the shortest spans.
    No line is longer than `width`.
    """
    shown = list(heads)
    values = list(_HEADS)
    while (each := _each(width, len(shown), len(values))) < _BARS_LEAST and (len(shown) > 1 or len(values) > 1):
        if len(values) == len(_HEADS):
            values.remove("least")
        elif len(shown) > 1:
            shown.pop(0)
        else:
            values.pop()
    each = max(each, 0)
    lines = [" ".join([" " * _NAME, *(f"{head:<{each}}"[:each] for head in shown)]) + _right(values)]
    for past in pasts:
        spans = past.spans[-len(shown) :]
        columns = [columns_of(one, each) for one in spans]
        most = max((value for column in columns for value in column if value is not None), default=0.0)
        bars = [sparkline(column, each, most, is_plain=is_plain) for column in columns]
        numbers = _numbers(past)
        bars = [" " * each] * (len(shown) - len(bars)) + bars
        lines.append(" ".join([_name(past.name), *bars]) + _right([numbers[name] for name in values]))
    return [line[:width].rstrip() for line in lines]


def amount(name: str, value: float) -> str:
    """Return a number of this kind with its unit, as people read it."""
    return _UNITS.get(name, _plain)(value)


def _numbers(past: Past) -> dict[str, str]:
    longest, shortest = past.spans[-1].buckets, past.spans[0].buckets
    every = [bucket for one in past.spans for bucket in one.buckets]
    is_now = shortest and shortest[-1].age_s <= 3 * past.spans[0].period_s
    return {
        "last": amount(past.name, shortest[-1].mean) if is_now else "-",
        "least": amount(past.name, min(bucket.least for bucket in every)) if longest or shortest else "-",
        "most": amount(past.name, max(bucket.most for bucket in every)) if longest or shortest else "-",
    }


def _each(width: int, spans: int, values: int) -> int:
    return (width - _NAME - values * _VALUE) // spans - 1


def _name(name: str) -> str:
    """Return a name as ASCII: a wide character or a mark of direction would move what stands beside it."""
    return f"{ascii_only(name)[: _NAME - 1]:<{_NAME}}"


def _right(words: Sequence[str]) -> str:
    return "".join(f"{word:>{_VALUE}}" for word in words)


def _bar(value: float | None, most: float, bars: str) -> str:
    if value is None:
        return " "
    return bars[min(len(bars) - 1, int(max(0.0, value) / most * len(bars))) if most > 0 else 0]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    number = float(value)
    if not math.isfinite(number) or abs(number) > VALUE_MOST:
        raise ValueError
    return number


def _buckets(ages: Any, columns: Any) -> tuple[Bucket, ...]:
    lists = [ages, columns["least"], columns["most"], columns["mean"]]
    if not all(isinstance(one, list | tuple) and len(one) == len(ages) <= BUCKETS_MOST for one in lists):
        raise ValueError
    rows = [row for row in zip(*lists, strict=True) if row[3] is not None]
    found = [Bucket(*(_number(one) for one in row)) for row in rows]
    return tuple(sorted(found, key=lambda one: -one.age_s))


def _rate(value: float) -> str:
    return f"{value:.0f}/s" if value >= 100 or value == int(value) else f"{value:.2g}/s"


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _bytes(value: float) -> str:
    return size(max(0.0, value))


_UNITS: Mapping[str, Callable[[float], str]] = {
    "processor": lambda value: f"{value:.1f} %",
    "memory": _bytes,
    "frames": _rate,
    "refused": _rate,
    "lateness": lambda value: f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.1f} s",
    "active": lambda value: f"{value:.0f}",
    "received": lambda value: f"{size(max(0.0, value))}/s",
    "sent": lambda value: f"{size(max(0.0, value))}/s",
    "dropped": _rate,
    "charge": lambda value: f"{value:.0f} %",
    "watts": lambda value: f"{value:.1f} W",
    "celsius": lambda value: f"{value:.1f} C",
}
