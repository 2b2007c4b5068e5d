"""Times of day: what cron(8) accepts, and when it is due, against a reference that looks at every minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.cron import Cron, parse_cron
from tlsrt.errors import MisuseError

# An hour twice a year; half an hour; at midnight; the other way round; none; a whole day left out in 2011.
ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Europe/Dublin", "Asia/Kolkata",
    "Pacific/Apia", "UTC",
)  # fmt: skip


def zone(name: str) -> Callable[[int], int]:
    info = ZoneInfo(name)

    def offset(at: int) -> int:
        shift = datetime.fromtimestamp(at, info).utcoffset()
        assert shift is not None
        return int(shift.total_seconds())

    return offset


def local(at: int, offset: Callable[[int], int]) -> datetime:
    return datetime.fromtimestamp(at + offset(at), UTC).replace(tzinfo=None)


def shows(cron: Cron, clock: datetime) -> bool:
    """Whether the fields match what a clock shows, written from crontab(5) alone."""
    day, weekday = clock.day in cron.days, (clock.weekday() + 1) % 7 in cron.weekdays
    _, _, day_text, _, weekday_text = cron.text.split()
    is_day = (day and weekday) if "*" in (day_text[0], weekday_text[0]) else (day or weekday)
    return clock.minute in cron.minutes and clock.hour in cron.hours and clock.month in cron.months and is_day


def reference(cron: Cron, after: int, until: int, offset: Callable[[int], int]) -> int | None:
    """Look at every minute that comes: what the clock shows, what it leaves out, and what it shows once more."""
    minute_text, hour_text, *_ = cron.text.split()
    is_wild = "*" in (minute_text[0], hour_text[0])
    for at in range(after // 60 * 60 + 60, until, 60):
        before, now = local(at - 60, offset), local(at, offset)
        if is_wild:
            if shows(cron, now):
                return at
            continue
        skipped = before + timedelta(minutes=1)
        while skipped < now:
            if shows(cron, skipped):
                return at
            skipped += timedelta(minutes=1)
        if shows(cron, now) and not (offset(at) != offset(at - 86400) and was_shown(at, now, offset)):
            return at
    return None


def was_shown(at: int, clock: datetime, offset: Callable[[int], int]) -> bool:
    """Whether the clock has shown the same within the day before."""
    return any(local(earlier, offset) == clock for earlier in range(at - 60, at - 86400 - 60, -60))


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, 9)
    item = st.one_of(
        number.map(str), ranges, st.tuples(ranges, steps).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        steps.map(lambda step: f"*/{step}"),
    )  # fmt: skip
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=3).map(",".join))


CRONS = st.tuples(field(0, 59), field(0, 23), field(1, 28), st.just("*"), field(0, 7)).map(" ".join)
# the night of a change, in seconds since 1970
NIGHTS = {
    "Europe/Berlin": (1774746000, 1792890000), "America/New_York": (1772953200, 1793512800),
    "Australia/Lord_Howe": (1775314800, 1791043200), "America/Santiago": (1775358000, 1788667200),
    "Europe/Dublin": (1774746000, 1792890000), "Pacific/Apia": (1325239200, 1325239200),
}  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(CRONS, st.sampled_from(ZONES), st.integers(0, 1), st.integers(-2 * 86400, 3 * 3600))
def test_it_is_due_when_a_reference_that_looks_at_every_minute_says_so(
    text: str, name: str, which: int, before: int
) -> None:
    cron, offset = parse_cron(text), zone(name)
    after = NIGHTS.get(name, (1774746000, 1792890000))[which] + before
    found = cron.next_after(after, offset)
    assert found > after
    end = after + 4 * 86400
    expected = reference(cron, after, end, offset)
    assert (found if found < end else None) == expected, (datetime.fromtimestamp(found, UTC), text, name)


@settings(max_examples=200, deadline=None)
@given(CRONS, st.integers(0, 4_000_000_000), st.integers(0, 86400 * 3))
def test_nothing_is_due_between_two_dues(text: str, after: int, later: int) -> None:
    cron, offset = parse_cron(text), zone("Europe/Berlin")
    first = cron.next_after(after, offset)
    between = min(after + later, first - 1)
    assert cron.next_after(between, offset) == first


def due(text: str, after: str, name: str = "Europe/Berlin") -> str:
    info = ZoneInfo(name)
    at = int(datetime.fromisoformat(after).replace(tzinfo=info).timestamp())
    return datetime.fromtimestamp(parse_cron(text).next_after(at, zone(name)), info).isoformat(timespec="minutes")


@pytest.mark.parametrize(("text", "after", "expected"), [
    ("30 3 * * *", "2026-01-01T03:29", "2026-01-01T03:30+01:00"),
    ("30 3 * * *", "2026-01-01T03:30", "2026-01-02T03:30+01:00"),
    ("30 2 * * *", "2026-03-28T12:00", "2026-03-29T03:00+02:00"),  # left out: right after it
    ("*/30 2 * * *", "2026-03-28T12:00", "2026-03-30T02:00+02:00"),  # `*`: only what the clock shows
    ("30 2 * * *", "2026-10-24T12:00", "2026-10-25T02:30+02:00"),  # twice: the first time
    ("30 2 * * *", "2026-10-25T02:30", "2026-10-26T02:30+01:00"),
    ("30 * * * *", "2026-10-25T02:30", "2026-10-25T02:30+01:00"),  # `*`: both times
    ("0 0 29 feb *", "2026-01-01T00:00", "2028-02-29T00:00+01:00"),
    ("0 0 13 * fri", "2026-01-01T00:00", "2026-01-02T00:00+01:00"),  # either
    ("0 0 */2 * mon", "2026-01-01T00:00", "2026-01-05T00:00+01:00"),  # `*/2` narrows: an odd day that is a Monday
    ("0 0 * * 7", "2026-01-01T00:00", "2026-01-04T00:00+01:00"),
    ("0 12 1 JAN-MAR/2 *", "2026-01-02T00:00", "2026-03-01T12:00+01:00"),
])  # fmt: skip
def test_some_that_people_know(text: str, after: str, expected: str) -> None:
    assert due(text, after) == expected


def test_a_day_that_a_zone_left_out_is_made_up_for_once() -> None:
    assert due("0 9 30 12 *", "2011-12-29T12:00", "Pacific/Apia") == "2011-12-31T00:00+14:00"


@pytest.mark.parametrize(("text", "words"), [
    ("30 3 * *", "it has 4 fields; write five"), ("", "it has 0 fields"), ("@daily", "it has 1 fields"),
    ("60 3 * * *", "the minute 60 is not within 0 to 59"), ("0 24 * * *", "the hour 24 is not within 0 to 23"),
    ("0 0 0 * *", "the day of the month 0 is not within 1 to 31"), ("0 0 * 13 *", "the month 13"),
    ("0 0 * * 8", "the day of the week 8 is not within 0 to 7"), ("0 0 * * foo", "'foo' is no day of the week; use a"),
    ("5-3 * * * *", "the minute '5-3' goes backwards"), ("*/0 * * * *", "the step of the minute '[*]/0' is not a"),
    ("5/10 * * * *", "has a step without a range; write 5-59/10"), (", * * * *", "'' is no minute"),
    ("0 0 30 feb *", "no year has one"), ("0 0 31 4,6,9,11 *", "no year has one"), ("\u0661 * * * *", "is no minute"),
    ("1-2-3 * * * *", "'2-3' is no minute"), ("mon * * * *", "'mon' is no minute"),
])  # fmt: skip
def test_what_cannot_be_read_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(MisuseError, match=words):
        parse_cron(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_the_one_error(text: str) -> None:
    try:
        assert parse_cron(text).minutes
    except MisuseError:
        pass


@given(CRONS)
def test_a_time_reads_as_it_is_written(text: str) -> None:
    assert parse_cron(parse_cron(f"  {text} ").text) == parse_cron(text)
