"""Lines of log files of processes as entries that have a time, merged over processes. Pure.

A log holds the words of its process, which may be captured: what is in it is shown escaped and bounded, and which
process it is of says the file that it stands in, never the line. An entry begins with a line that has a time and goes
on with those that have none, a traceback for example. A time that runs back, or beyond what the file can know, counts
as the nearest right one, so that no line moves before one that was written earlier.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from tlsrt.text import printable

LINE_MAX = 4096  # characters of one line
LINES_MAX = 200  # of one entry
_TIME = re.compile(rb"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2}) (?P<hour>[0-9:]{8}),(?P<ms>[0-9]{3}) [A-Z]{1,8} ")
_NAME = re.compile(r"[0-9-]{10} [0-9:,]{12} [A-Z]{1,8} (?P<name>[\w./-]{1,80}): (?P<rest>.*)")
_OF_PROGRAM = re.compile(r"(program )?(?P<program>[\w.-]{1,80})(:| #[0-9]+:| ended| runs)")


class LogEntry(NamedTuple):
    """One entry; `at` is wall time in seconds."""

    at: float
    process: str
    lines: tuple[str, ...]

    @property
    def component(self) -> str:
        """Return who has logged it, as its line says: a component or a process."""
        found = _NAME.fullmatch(self.lines[0])
        return found["name"] if found else ""

    @property
    def program(self) -> str:
        """Return the program that it is about, as its line says; "" if it is about none."""
        found = _NAME.fullmatch(self.lines[0])
        named = _OF_PROGRAM.match(found["rest"]) if found else None
        return named["program"] if named else ""


class LogReader:
    """Makes entries of the bytes of one process's log, piece by piece."""

    def __init__(self, process: str, earliest: float = 0.0) -> None:
        self._process = process
        self._at = earliest
        self._rest = b""
        self._lines: list[str] = []

    def feed(self, data: bytes, latest: float) -> list[LogEntry]:
        """Return the entries that are whole; `latest` is the time until which anything can have been written."""
        found = list[LogEntry]()
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_MAX * 4:
            whole.append(self._rest)
            self._rest = b""
        for line in whole:
            at = _time_of(line)
            if at is not None or not self._lines:
                found += self.end()
                self._at = max(self._at, min(at if at is not None else self._at, latest))
            if len(self._lines) < LINES_MAX:
                self._lines.append(printable(line.decode(errors="replace"), LINE_MAX, keep="\t"))
        return found

    def end(self) -> list[LogEntry]:
        """Return the entry that nothing more is to come of."""
        lines, self._lines = tuple(self._lines), []
        return [LogEntry(self._at, self._process, lines)] if lines else []


def merged(logs: Iterable[Sequence[LogEntry]]) -> Iterator[LogEntry]:
    """Yield the entries of several logs by time; each log keeps its own order."""
    return heapq.merge(*logs, key=lambda entry: entry.at)


def _time_of(line: bytes) -> float | None:
    found = _TIME.match(line)
    if found is None:
        return None
    try:
        when = datetime.fromisoformat(f"{found['day'].decode()}T{found['hour'].decode()}")
        return when.timestamp() + int(found["ms"]) / 1000
    except (ValueError, OverflowError, OSError):
        return None
