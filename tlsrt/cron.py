"""Times of day as cron(8) reads them: `30 3 * * *`, and when they are due next. Pure.

Five fields: minute, hour, day of the month, month, day of the week; each a list of `*`, numbers and ranges, perhaps
with a step (`*/15`, `8-18/2`), names of months and days in three letters, 7 and 0 are Sunday (crontab(5)). Where both
fields of days say something other than `*`, either may match; a field that begins with `*` says nothing, so `*/2`
narrows the other (crontab(5), "Command execution will occur when ..."; Vixie cron's DOM_STAR and DOW_STAR).

Changes of the clock for summer time follow cron(8). A time whose minute or hour begins with `*` is due whenever the
clock of the zone shows it: twice in an hour that comes twice, never in one that is left out. Any other time is due
once a day: in an hour that comes twice the first time, and right after an hour that is left out.

The zone is a function from seconds since 1970 to seconds east of UTC, so that a test can take any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from tlsrt.errors import MisuseError

Offset = Callable[[int], int]

DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_MARGIN_S = 36 * 3600  # more than any zone changes its clock by
_YEARS = 41  # after which each day of the week has met each day of the year, 29 February too
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class Cron:
    """A time of day, as five fields say it. Days of the week are 0 for Sunday to 6."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_every_hour: bool  # the minute or the hour begins with `*`: due whenever the clock shows it
    is_any_day: bool  # the day of the month begins with `*`
    is_any_weekday: bool

    def matches_date(self, day: date) -> bool:
        """Tell whether it is due on this day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.is_any_day or self.is_any_weekday:
            return of_month and of_week
        return of_month or of_week

    def next_after(self, after: int, offset: Offset) -> int:
        """Return the first time later than `after` at which it is due; both in seconds since 1970."""
        best: int | None = None
        for day in _days_from((after + offset(after)) // DAY_S - 2):
            if not self.matches_date(day):
                continue
            start = (day.toordinal() - _EPOCH) * DAY_S
            low, high = sorted((offset(start - _MARGIN_S), offset(start + DAY_S + _MARGIN_S)))
            if best is not None and start - high >= best:
                return best
            if start + DAY_S - low <= after - (high - low):
                continue
            for local in self._times_of(start, after + low - (high - low) - 60):
                if best is not None and local - high >= best:
                    return best
                for found in self._instants(local, low, high, offset):
                    if found > after and (best is None or found < best):
                        best = found
                if best is not None and low == high:
                    return best
        raise MisuseError(f"cannot find a day for {self.text!r}: it has none")  # the parser has refused it

    def _times_of(self, start: int, least: int) -> Iterator[int]:
        """The times of one day by the clock of the zone, in order; those of hours long before `least` are left out."""
        for hour in self.hours:
            at = start + hour * 3600
            if at + 3600 > least:
                yield from (at + minute * 60 for minute in self.minutes)

    def _instants(self, local: int, low: int, high: int, offset: Offset) -> list[int]:
        """Return when this is due that the clock of the zone calls `local`, seconds since 1970 by that clock."""
        found = [local - one for one in sorted({low, high}, reverse=True) if offset(local - one) == one]
        if self.is_every_hour:
            return found
        return found[:1] or [_end_of_gap(local - high, local - low, offset)]


def _days_from(number: int) -> Iterator[date]:
    first = date.fromordinal(_EPOCH + number)
    return (first + timedelta(days) for days in range(_YEARS * 366))


def _end_of_gap(before: int, behind: int, offset: Offset) -> int:
    """Return when the clock went forward, between two times of which one is before and one behind it."""
    old = offset(before)
    while behind - before > 1:
        middle = (before + behind) // 2
        if offset(middle) == old:
            before = middle
        else:
            behind = middle
    return behind


def parse_cron(text: str) -> Cron:
    """Return the time that five fields say. Raises MisuseError with what is wrong."""
    fields = text.split()
    if len(fields) != 5:
        raise MisuseError(
            f"cannot read the time {text!r}: it has {len(fields)} fields; "
            "write five, as in '30 3 * * *': minute, hour, day of the month, month, day of the week"
        )
    try:
        minutes = _field(fields[0], "minute", 0, 59)
        hours = _field(fields[1], "hour", 0, 23)
        days = _field(fields[2], "day of the month", 1, 31)
        months = _field(fields[3], "month", 1, 12, _MONTHS)
        weekdays = _field(fields[4], "day of the week", 0, 7, _DAYS)
    except ValueError as error:
        raise MisuseError(f"cannot read the time {text!r}: {error}") from None
    cron = Cron(
        " ".join(fields), tuple(sorted(minutes)), tuple(sorted(hours)), days, months,
        frozenset(day % 7 for day in weekdays), fields[0][0] == "*" or fields[1][0] == "*", fields[2][0] == "*",
        fields[4][0] == "*",
    )  # fmt: skip
    if not any(cron.matches_date(day) for day in _days_from(date(2000, 1, 1).toordinal() - _EPOCH)):
        raise MisuseError(f"cannot find a day for the time {text!r}: no year has one")
    return cron


def _field(text: str, what: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        bounds, slash, step_text = item.partition("/")
        first_text, dash, last_text = bounds.partition("-")
        if bounds == "*":
            first, last = low, high if names is not _DAYS else 6
        else:
            first = _number(first_text, what, low, high, names)
            last = _number(last_text, what, low, high, names) if dash else first
        if last < first:
            raise ValueError(f"the {what} {item!r} goes backwards; write it as two ranges, with a comma")
        step = 1
        if slash:
            if bounds != "*" and not dash:
                raise ValueError(f"the {what} {item!r} has a step without a range; write {first}-{high}/{step_text}")
            if not (step_text.isascii() and step_text.isdigit() and len(step_text) <= 2 and int(step_text)):
                raise ValueError(f"the step of the {what} {item!r} is not a number from 1 to 99")
            step = int(step_text)
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, what: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        example = f", or a name such as {names[1]}" if names else ""
        raise ValueError(f"{text!r} is no {what}; use a number from {low} to {high}{example}")
    number = int(text)
    if not low <= number <= high:
        raise ValueError(f"the {what} {number} is not within {low} to {high}")
    return number
