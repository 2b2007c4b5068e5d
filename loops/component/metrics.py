"""Figures of a component: counters, gauges and times by name, for its method `metrics`.

The first 64 names are kept; what comes under others is only counted, so that names made of input fill no memory.
Threads may count too. The clock comes in, in seconds.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tlsrt.errors import MisuseError
from tlsrt.loops.component.surroundings import Surrounding

NAMES_MOST = 64
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class Timer:
    """Times its block, also one that ends with an exception."""

    __slots__ = ("_began", "_clock", "_name", "_note")

    def __init__(self, name: str, note: Callable[[str, float], None], clock: Callable[[], float]) -> None:
        self._name = name
        self._note = note
        self._clock = clock
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, *raised: object) -> None:
        self._note(self._name, self._clock() - self._began)


class Metrics:
    """The figures of one component."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counters: dict[str, float] = {}
        self._gauges: dict[str, float] = {}
        self._times: dict[str, list[float]] = {}  # [how often, all of them, the longest] in seconds
        self._dropped = 0

    def count(self, name: str, by: float) -> None:
        """Add to a counter."""
        by = _number(name, by)
        with self._lock:
            if name in self._counters or self._is_new(name):
                self._counters[name] = self._counters.get(name, 0) + by

    def gauge(self, name: str, value: float) -> None:
        """Set a value that goes up and down."""
        value = _number(name, value)
        with self._lock:
            if name in self._gauges or self._is_new(name):
                self._gauges[name] = value

    def timer(self, name: str) -> Timer:
        """Return what times a block under a name."""
        return Timer(name, self._note, self._clock)

    def _note(self, name: str, took_s: float) -> None:
        with self._lock:
            row = self._times.get(name)
            if row is not None:
                row[0] += 1
                row[1] += took_s
                row[2] = max(row[2], took_s)
            elif self._is_new(name):
                self._times[name] = [1, took_s, took_s]

    def _is_new(self, name: str) -> bool:
        """Tell whether there is room for another name. Raises MisuseError for what is none."""
        if _NAME.fullmatch(name) is None:
            raise MisuseError(f"{name[:64]!r} names no figure: use lower-case letters, digits, _ and ., up to 64")
        if len(self._counters) + len(self._gauges) + len(self._times) < NAMES_MOST:
            return True
        self._dropped += 1
        return False

    def document(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        with self._lock:
            times = {
                name: {"count": int(count), "total_s": total, "max_s": longest}
                for name, (count, total, longest) in self._times.items()
            }
            return {
                "counters": dict(self._counters),
                "gauges": dict(self._gauges),
                "times": times,
                "dropped": self._dropped,
            }


def _number(name: str, value: float) -> float:
    """Return a value as a plain number, whatever library it is of. Raises MisuseError for what is none."""
    try:
        return value if type(value) is int else float(value)
    except (TypeError, ValueError, OverflowError):
        kind = type(value).__name__
        raise MisuseError(f"cannot keep figure {name[:64]!r}: {kind} is no number; give an int or a float") from None


def metrics_of(component: Counting) -> Metrics:
    """Return the figures of an attached component, for the runtime."""
    return component._tlsrt_metrics


class Counting:
    """The part of a component that counts. A class may have something else under its three names."""

    _tlsrt_metrics: Surrounding[Metrics] = Surrounding()

    if TYPE_CHECKING:  # what a class has of its own under such a name fits too
        count: Any
        gauge: Any
        time: Any
    else:

        def count(self, name: str, by: float = 1) -> None:
            """Add to a counter that the method `metrics` shows: `self.count("sent")`. Threads may count too.

            Of a component's figures the first 64 names are kept. A class may use the names `count`, `gauge` and
            `time` for something else.
            """
            self._tlsrt_metrics.count(name, by)

        def gauge(self, name: str, value: float) -> None:
            """Set a figure that goes up and down: `self.gauge("depth", len(self.queue))`."""
            self._tlsrt_metrics.gauge(name, value)

        def time(self, name: str) -> Timer:
            """Time a block: `with self.time("infer"): ...`; kept are how often, how long in all, and the longest."""
            return self._tlsrt_metrics.timer(name)

    async def _metrics(self) -> dict[str, Any]:
        """The figures that this component keeps: counters, gauges, times."""
        return self._tlsrt_metrics.document()
