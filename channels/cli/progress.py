"""Progress of a transfer: one line at a terminal, for those that take long."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque

from tlsrt.text import duration, printable, size

SHOW_AFTER_S = 1.0  # what is done sooner needs no bar
DRAW_EVERY_S = 0.1
WINDOW_S = 5.0  # the rate is that of the last seconds


def line(name: str, done: int, total: int, rate: float, columns: int) -> str:
    """Return the line of a transfer: name, bar, share, bytes, rate (bytes a second), time left."""
    share = done / total if total else 1.0
    left = f"{duration((total - done) / rate)} left" if rate >= 1 else "waiting"
    facts = f"{int(share * 100):>3} %  {size(done)} of {size(total)}  {size(rate)}/s  {left}"
    room = columns - 1 - len(facts) - 5
    shown = printable(name)
    bar = min(30, room - min(len(shown), 24))
    if bar < 5:
        return facts[: max(0, columns - 1)]
    width = room - bar
    shown = shown if len(shown) <= width else shown[: width - 1] + "…"
    filled = int(share * bar)
    return f"{shown}  [{'#' * filled}{'.' * (bar - filled)}] {facts}"


class Rate:
    """Bytes a second over the last seconds. Pure: the time comes in."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, done: int) -> float:
        """Note how far it is now and return the rate."""
        marks = self._marks
        if marks and done < marks[-1][1]:
            marks.clear()  # it began anew
        if not marks or now - marks[-1][0] >= DRAW_EVERY_S / 2:
            marks.append((now, done))
        while len(marks) > 2 and now - marks[0][0] > WINDOW_S:
            marks.popleft()
        span = now - marks[0][0]
        return (done - marks[0][1]) / span if span > 0 else 0.0


class Bar:
    """The line on standard error. Use it in a `with` block, and give `told` to a transfer."""

    def __init__(self, name: str, *, is_wanted: bool) -> None:
        self._name = name
        self._is_wanted = is_wanted and sys.stderr.isatty()
        self._rate = Rate()
        self._began = time.monotonic()
        self._drawn_at = 0.0
        self._is_shown = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def told(self, done: int, total: int) -> None:
        """Hear how far it is."""
        if not self._is_wanted:
            return
        now = time.monotonic()
        rate = self._rate.mark(now, done)
        if now - self._began < SHOW_AFTER_S or now - self._drawn_at < DRAW_EVERY_S or done >= total:
            return
        self._drawn_at, self._is_shown = now, True
        text = line(self._name, done, total, rate, shutil.get_terminal_size().columns)
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()
