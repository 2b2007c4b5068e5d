"""When a job is due: what people write, and what travels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.cron import Cron
from tlsrt.errors import InvalidArgument, MisuseError
from tlsrt.when import MOST_S, Delay, Instant, parse_when_untrusted, shown_when, when_text


@pytest.mark.parametrize(
    ("said", "travels"),
    [
        ("30  6 * * *", "30 6 * * *"),
        ("10m", "+600"),
        ("1d", "+86400"),
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
    ["", "soon", "10", "61 6 * * *", "0 0 30 2 *", "400d", "2026-12-01T06:30:00", "* " * 200, timedelta(0)],
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
    assert isinstance(found, Cron | Instant | Delay)


@given(st.integers(1, MOST_S))
def test_a_span_comes_back(seconds: int) -> None:
    assert parse_when_untrusted(when_text(timedelta(seconds=seconds))) == Delay(seconds)
