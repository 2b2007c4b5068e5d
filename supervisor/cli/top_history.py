"""What the processes of a host used since `top` began, as it draws it: just now, in the last hour and day. Pure.

Time is an argument, of a clock that never goes back.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from tlsrt.supervisor.cli.top_rows import Row
from tlsrt.supervisor.cli.top_series import Bucket, Past, Series, sparkline

SAMPLES = 60
SHOWN = ("processor", "memory", "frames")  # what the host has in one line
SERIES = (*SHOWN, "refused", "lateness")
SPANS_S = ((10, 3600), (300, 86400))  # period and length: hour and day, as services keep theirs
_LEAST = {"processor": 5.0, "frames": 10.0}  # percent and frames a second that fill the height: less is no mountain
_COUNTED = "refused total"
_COUNT, _MIN, _MAX, _SUM, _WIDTH = range(5)


class _Kept:
    """The past of one process."""

    def __init__(self) -> None:
        self.samples: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=SAMPLES)
        self.counted: tuple[float, float] | None = None  # refused frames, and when
        self._spans: list[deque[tuple[int, array[float]]]] = [
            deque(maxlen=lasts_s // period_s) for period_s, lasts_s in SPANS_S
        ]

    def add(self, values: Mapping[str, float], now_s: float) -> None:
        self.samples.append((now_s, dict(values)))
        for kept, (period_s, _) in zip(self._spans, SPANS_S, strict=True):
            number = int(now_s // period_s)
            if not kept or kept[-1][0] != number:
                kept.append((number, array("d", bytes(8 * _WIDTH * len(SERIES)))))
            for at, name in enumerate(SERIES):
                if (value := values.get(name)) is not None:
                    _take(kept[-1][1], at * _WIDTH, value)

    def past(self, name: str, now_s: float) -> Past:
        at = SERIES.index(name) * _WIDTH
        return Past(name, (self._lately(name, now_s), *(
            Series(name, period_s, lasts_s, tuple(
                Bucket(now_s - number * period_s, its[at + _MIN], its[at + _MAX], its[at + _SUM] / its[at + _COUNT])
                for number, its in kept
                if its[at + _COUNT] and now_s - number * period_s <= lasts_s + period_s
            ))
            for kept, (period_s, lasts_s) in zip(self._spans, SPANS_S, strict=True)
        )))  # fmt: skip

    def _lately(self, name: str, now_s: float) -> Series:
        """Return the last samples; each stands for the time since the one before."""
        times = [at_s for at_s, _ in self.samples]
        step_s = max(1.0, (times[-1] - times[0]) / (len(times) - 1)) if len(times) > 1 else 1.0
        known = [(at_s, values[name]) for at_s, values in self.samples if name in values]
        buckets = tuple(Bucket(now_s - at_s + step_s, value, value, value) for at_s, value in known)
        return Series(name, step_s, SAMPLES * step_s, buckets)


class History:
    """The past of each process that is there, and of the host as a whole."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._host = _Kept()

    def add(self, rows: Iterable[Row], now_s: float) -> None:
        """Take one more sample; a process that is not in it is forgotten."""
        before, self._kept = self._kept, {}
        total: dict[str, float] = {}
        for row in rows:
            kept = self._kept[row.loop] = before.get(row.loop) or _Kept()
            values = _values(row, kept, now_s)
            kept.add(values, now_s)
            for name, value in values.items():
                both = (total.get(name, 0.0), value)
                total[name] = max(both) if name == "lateness" else sum(both)
        self._host.add(total, now_s)

    def of(self, process: str, name: str) -> list[float | None]:
        """Return the last samples of one process, the oldest first."""
        return _told(self._kept[process], name) if process in self._kept else []

    def of_host(self, name: str) -> list[float | None]:
        """Return the last sums over all processes."""
        return _told(self._host, name)

    def past(self, process: str | None, now_s: float) -> list[Past]:
        """Return the last samples, hour and day of a process, or of the host; nothing for one that is not there."""
        kept = self._host if process is None else self._kept.get(process)
        return [] if kept is None else [kept.past(name, now_s) for name in SERIES]

    def line(self, values: Sequence[float | None], name: str, width: int, *, is_plain: bool = False) -> str:
        """Return the bars of one kind of samples."""
        return sparkline(values, width, _LEAST.get(name, 0.0), is_plain=is_plain)


def _told(kept: _Kept, name: str) -> list[float | None]:
    return [values.get(name) for _, values in kept.samples]


def _values(row: Row, kept: _Kept, now_s: float) -> dict[str, float]:
    """Return what is known of a process now; refused frames are counted, so they need an earlier count."""
    values = {name: row.numbers[name] for name in SERIES if name in row.numbers}
    counted, before = row.numbers.get(_COUNTED), kept.counted
    kept.counted = (counted, now_s) if counted is not None else None
    if counted is not None and before is not None and now_s > before[1] and counted >= before[0]:
        values["refused"] = (counted - before[0]) / (now_s - before[1])
    return values


def _take(its: array[float], at: int, value: float) -> None:
    is_first = not its[at + _COUNT]
    its[at + _COUNT] += 1
    its[at + _MIN] = value if is_first else min(its[at + _MIN], value)
    its[at + _MAX] = value if is_first else max(its[at + _MAX], value)
    its[at + _SUM] += value
