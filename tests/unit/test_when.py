"""When a job is due: what people write, and what travels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.cron import Cron
from tlsrt.errors import InvalidArgument, MisuseError
from tlsrt.when import (
    MOST_S,
    Delay,
    Instant,
    Period,
    late_max_s_untrusted,
    missed_text,
    parse_when_untrusted,
    shown_missed,
    shown_when,
    when_text,
)


@pytest.mark.parametrize(
    ("said", "travels"),
    [
        ("30  6 * * *", "30 6 * * *"),
        ("10m", "+600"),
        ("1d", "+86400"),
        ("every 10m", "%600"),
        ("every  2h", "%7200"),
        (timedelta(minutes=10), "+600"),
        ("1970-01-02T00:00:00+00:00", "@86400"),
        ("1970-01-02T01:00:00+01:00", "@86400"),
        (datetime(1970, 1, 2, tzinfo=UTC), "@86400"),
        (datetime(1970, 1, 2, 1, tzinfo=timezone(timedelta(hours=1))), "@86400"),
    ],
)
def test_what_is_said_travels_in_one_form(said: str | datetime | timedelta, travels: str) -> None:
    assert when_text(said) == travels


@pytest.mark.parametrize(
    "said",
    [
        "",
        "soon",
        "10",
        "61 6 * * *",
        "0 0 30 2 *",
        "400d",
        "2026-12-01T06:30:00",
        "* " * 200,
        timedelta(0),
        "every",
        "every day",
        "every 29s",
        "every 400d",
    ],
)
def test_what_is_no_time_is_refused_in_words(said: str | timedelta) -> None:
    with pytest.raises(InvalidArgument, match=r"cannot|invalid duration"):
        when_text(said)


def test_what_travels_is_read() -> None:
    assert parse_when_untrusted("@5") == Instant(5)
    assert parse_when_untrusted("+5") == Delay(5)
    assert isinstance(parse_when_untrusted("30 6 * * *"), Cron)
    assert (shown_when("@5"), shown_when("30 6 * * *")) == ("once", "30 6 * * *")


@given(st.text(max_size=210))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        found = parse_when_untrusted(text)
    except MisuseError:
        return
    assert isinstance(found, Cron | Instant | Delay | Period)


@given(st.integers(1, MOST_S))
def test_a_span_comes_back(seconds: int) -> None:
    assert parse_when_untrusted(when_text(timedelta(seconds=seconds))) == Delay(seconds)


def test_a_jitter_travels_behind_the_time() -> None:
    assert when_text("30 6 * * *", "30s") == "30 6 * * * ~30"
    assert when_text("every 10m", timedelta(minutes=10)) == "%600 ~600"
    assert (shown_when("%600 ~90"), shown_when("+60 ~60"), shown_when("%5400")) == (
        "every 10m ~90s",
        "once ~1m",
        "every 90m",
    )
    assert parse_when_untrusted("%600 ~600") == Period(600)
    for when, jitter in (("every 10m", "11m"), ("10m", "2d"), ("10m", "0.1s"), ("10m", "long")):
        with pytest.raises(InvalidArgument, match="jitter"):
            when_text(when, jitter)


def test_how_late_a_run_may_be_is_said_in_three_ways() -> None:
    assert [missed_text(said) for said in ("once", "skip", "1h")] == ["once", "skip", "+3600"]
    assert [late_max_s_untrusted(said) for said in ("once", "skip", "+3600")] == [None, 60, 3600]
    assert (shown_missed("skip"), shown_missed("+5400")) == ("skip", "once, if at most 90m late")
    for said in ("often", "", "59s", "400d", "+3600", "run"):
        with pytest.raises(InvalidArgument):
            missed_text(said)


@given(st.text(max_size=20))
def test_any_text_is_a_bound_of_lateness_or_refused(text: str) -> None:
    try:
        late_max_s_untrusted(text)
    except MisuseError:
        return
    assert text in ("once", "skip") or text[0] == "+"
