"""When a timer of a component is due next, and what a jump of the clock or a time without the process changes. Pure.

`every` goes by a clock that cannot be stepped and counts through suspend (CLOCK_BOOTTIME); `at` by the wall clock of
the host. A change of the wall clock by less than 3 h in either direction leaves what is due as it is, so nothing is
run twice, and what was passed over is run soon; a larger one is a correction of a wrong clock, and what is due is
found anew, as cron(8) does both. Both times come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from tlsrt.cron import Offset
from tlsrt.loops.component.timers import At, Every, Timer

ON_TIME_S = 60.0  # so late is not missed
CORRECTION_S = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of both clocks, in seconds: CLOCK_BOOTTIME, and seconds since 1970."""

    boot: float
    wall: float


@dataclass(frozen=True, slots=True)
class Due:
    """A due time as it is on the disk: what it belongs to, when, and what its clock said when it was written."""

    spec: str
    at: float
    seen: float


class What(Enum):
    """What a look at the clock finds."""

    NOTHING = "nothing"
    DUE = "due"
    LATE = "late"  # and it is run, once for all times that were missed
    MISSED = "missed"  # and it is not run


class Timetable(Protocol):
    """The due times of one timer."""

    due: float

    def look(self, now: Now) -> What:
        """Tell whether it is due; whatever was due is over then, and `due` is the next time."""
        ...

    def record(self, now: Now) -> Due:
        """Return what is to be on the disk from now on."""
        ...


def timetable_of(timer: Timer, kept: Due | None, now: Now, offset: Offset, chance: Callable[[], float]) -> Timetable:
    """Return the due times of a timer from now on; `kept` is what was on the disk."""
    if kept is not None and kept.spec != timer.spec:
        kept = None  # it was another timer's
    if isinstance(timer, Every):
        return EveryTimetable(timer, kept, now, chance)
    return AtTimetable(timer, kept, now, offset)


class EveryTimetable:
    """Due once a period, on a grid that does not drift, and later by chance within the jitter."""

    def __init__(self, timer: Every, kept: Due | None, now: Now, chance: Callable[[], float]) -> None:
        self._timer = timer
        self._chance = chance
        self._base = now.boot + timer.period_s
        # Of this boot, or of one before that had run for less: then it comes early once, never later than a new one.
        if kept is not None and now.boot >= kept.seen and kept.at <= self._base:
            self._base = kept.at
        self.due = self._base + self._late()

    def look(self, now: Now) -> What:
        if now.boot < self.due:
            return What.NOTHING
        periods = max(1, int((now.boot - self._base) // self._timer.period_s) + 1)
        self._base += periods * self._timer.period_s
        if self._base <= now.boot:  # the sum was rounded down to now: it would be due twice
            self._base += self._timer.period_s
        self.due = self._base + self._late()
        return What.DUE

    def record(self, now: Now) -> Due:
        return Due(self._timer.spec, self._base, now.boot)

    def _late(self) -> float:
        return self._chance() * self._timer.jitter_s


class AtTimetable:
    """Due at times of day."""

    def __init__(self, timer: At, kept: Due | None, now: Now, offset: Offset) -> None:
        self._timer = timer
        self._offset = offset
        self._last = now
        is_kept = kept is not None and now.wall > kept.seen - CORRECTION_S
        self.due = kept.at if kept is not None and is_kept else self._next(now)

    def look(self, now: Now) -> What:
        jump = (now.wall - self._last.wall) - (now.boot - self._last.boot)
        self._last = now
        if abs(jump) >= CORRECTION_S:
            self.due = self._next(now)
            return What.NOTHING
        if now.wall < self.due:
            return What.NOTHING
        late = now.wall - self.due
        self.due = self._next(now)
        if late <= ON_TIME_S:
            return What.DUE
        return What.LATE if self._timer.missed == "once" else What.MISSED

    def record(self, now: Now) -> Due:
        return Due(self._timer.spec, self.due, now.wall)

    def _next(self, now: Now) -> float:
        return float(self._timer.cron.next_after(int(now.wall), self._offset))
