"""What the processes of a host used in the last minute or so, as `top` draws it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from tlsrt.supervisor.cli.top_rows import Row

SAMPLES = 60
SHOWN = ("processor", "memory", "calls")
_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
_LEAST = {"processor": 5.0, "calls": 10.0}  # percent and calls a second that fill the height: less is no mountain


def sparkline(values: Sequence[float], width: int, least: float = 0.0, *, is_plain: bool = False) -> str:
    """Return the last `width` values as bars, left empty where there are none yet.

    The highest bar is the largest value, or `least` if all are below. `is_plain`: in ASCII.
    """
    bars = _PLAIN_BARS if is_plain else _BARS
    shown = list(values)[-width:]
    most = max([least, *shown])
    heights = [min(len(bars) - 1, int(max(0.0, value) / most * len(bars))) if most > 0 else 0 for value in shown]
    return "".join(bars[height] for height in heights).rjust(width)


class History:
    """The last samples of each process that is there."""

    def __init__(self) -> None:
        self._samples: dict[str, dict[str, deque[float]]] = {}

    def add(self, rows: Iterable[Row]) -> None:
        """Take one more sample; what is not in it is forgotten."""
        before, self._samples = self._samples, {}
        for row in rows:
            kept = before.get(row.loop) or {name: deque(maxlen=SAMPLES) for name in SHOWN}
            for name in SHOWN:
                kept[name].append(row.numbers.get(name, 0.0))
            self._samples[row.loop] = kept

    def of(self, process: str, name: str) -> list[float]:
        """Return the samples of one process, the oldest first."""
        return list(self._samples.get(process, {}).get(name, ()))

    def of_host(self, name: str) -> list[float]:
        """Return the sums over all processes; a process that has few samples is one that began later."""
        columns = [list(kept[name]) for kept in self._samples.values()]
        most = max(map(len, columns), default=0)
        padded = [[0.0] * (most - len(column)) + column for column in columns]
        return [sum(values) for values in zip(*padded, strict=True)]

    def line(self, values: Sequence[float], name: str, width: int, *, is_plain: bool = False) -> str:
        """Return the bars of one kind of samples."""
        return sparkline(values, width, _LEAST.get(name, 0.0), is_plain=is_plain)
