"""Which time a spoken question is about."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.assistant_period import spoken_period
from tlsrt.loops.secondary.log_query import moment_us
from tlsrt.sources import Period

NOW = datetime(2026, 12, 7, 15, 30).astimezone()  # a Monday
ELSE = Period("24h")


def ms(*when: int) -> int:
    return round(datetime(*when).timestamp() * 1000)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "begin", "end"),
    [
        ("What happened yesterday?", ms(2026, 12, 6), ms(2026, 12, 7) - 1),
        ("and the day before yesterday", ms(2026, 12, 5), ms(2026, 12, 6) - 1),
        ("Who came LAST  night?", ms(2026, 12, 6, 18), ms(2026, 12, 7, 8) - 1),
        ("what was it on Friday?", ms(2026, 12, 4), ms(2026, 12, 5) - 1),
        ("what was it on monday", ms(2026, 11, 30), ms(2026, 12, 1) - 1),
    ],
)
def test_a_day_is_that_day(question: str, begin: int, end: int) -> None:
    assert spoken_period(question, NOW, ELSE) == Period(str(begin), str(end))


@pytest.mark.parametrize(
    ("question", "since"),
    [
        ("in the last hour", "1h"), ("in the last three hours", "3h"), ("during the past 20 minutes", "20m"),
        ("in the last week", "7d"), ("in the past 2 weeks", "14d"), ("in the last 0 days", "1d"),
        ("what did the pump do this morning", str(ms(2026, 12, 7))), ("is the pump on", "24h"),
        ("what is at last", "24h"),
    ],
)  # fmt: skip
def test_a_span_ends_now(question: str, since: str) -> None:
    assert spoken_period(question, NOW, ELSE) == Period(since)


WORDS = ("yesterday", "today", "last", "past", "night", "hours", "three", "12", "999", "week", "monday", "the")


@given(st.lists(st.sampled_from(WORDS)).map(" ".join) | st.text(), st.integers(0, 400 * 86_400))
def test_whatever_is_said_is_a_time_that_logs_take(question: str, later_s: int) -> None:
    now = NOW + timedelta(seconds=later_s)
    found = spoken_period(question, now, ELSE)
    now_us = round(now.timestamp() * 1_000_000)
    begin = moment_us(found.since, now_us, "since")
    assert 0 <= begin <= (moment_us(found.until, now_us, "until") if found.until else now_us)
