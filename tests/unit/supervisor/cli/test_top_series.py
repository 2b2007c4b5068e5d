"""Lines of bars of `top`: what a service answers is judged, and nothing in it leaves its cell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.cli.top_series import (
    BUCKETS_MOST,
    SERIES_MOST,
    Bucket,
    NoNumbers,
    Past,
    Series,
    columns_of,
    history_untrusted,
    table_lines,
)

NUMBERS = st.floats(min_value=-1e15, max_value=1e15, allow_nan=False)
HEADS = ("just now", "last hour", "last day")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def answer(*values: float | None, period_s: float = 10, lasts_s: float = 3600, name: str = "watts") -> dict[str, Any]:
    ages = [period_s * (len(values) - at) for at in range(len(values))]
    columns = {"least": [*values], "most": [*values], "mean": [*values]}
    return {"period_s": period_s, "lasts_s": lasts_s, "ages_s": ages, "series": {name: columns}}


def past_of(name: str, *values: float | None) -> Past:
    (hour,) = history_untrusted(answer(*values, name=name))
    (day,) = history_untrusted(answer(*values, period_s=300, lasts_s=86400, name=name))
    return Past(name, (hour, day))


def test_a_history_is_drawn_with_its_gaps_and_says_last_least_and_most_with_units() -> None:
    past = past_of("watts", 4.0, None, 0.0, 8.0)
    assert columns_of(past.spans[0], 360)[-4:] == [4.0, None, 0.0, 8.0]
    head, line = table_lines([past], HEADS[1:], 1000, is_plain=True)
    assert head.split() == ["last", "hour", "last", "day", "last", "least", "most"]
    assert line.split()[-6:] == ["8.0", "W", "0.0", "W", "8.0", "W"]
    hour = Past("watts", past.spans[:1])
    assert "= _#" in table_lines([hour], ["last hour"], 401, is_plain=True)[1]


def test_a_service_that_has_said_nothing_for_a_while_has_no_last_value() -> None:
    old = answer(5.0)
    old["ages_s"] = [600]
    (hour,) = history_untrusted(old)
    line = table_lines([Past("watts", (hour,))], ["hour"], 80)[1]
    assert line.split()[-5:] == ["-", "5.0", "W", "5.0", "W"]


def test_a_span_that_is_known_throughout_has_no_gap_at_any_width() -> None:
    for period_s, lasts_s in ((10, 3600), (300, 86400)):
        (series,) = history_untrusted(answer(*[1.0] * (lasts_s // period_s), period_s=period_s, lasts_s=lasts_s))
        for width in range(1, lasts_s // period_s + 1):
            assert None not in columns_of(series, width), width


@pytest.mark.parametrize(
    "change",
    [
        {"ages_s": [1, 2]}, {"ages_s": None}, {"ages_s": ["x"]}, {"period_s": 0}, {"period_s": float("nan")},
        {"period_s": True}, {"lasts_s": float("inf")}, {"lasts_s": 1}, {"series": []}, {"series": {"x": {}}},
        {"series": {"x": {"least": [1], "most": [1], "mean": ["\x1b[2J"]}}},
        {"series": {"x": {"least": [None], "most": [1], "mean": [1]}}},
        {"series": {"x": {"least": [1], "most": [1e300], "mean": [1]}}},
        {"series": {"x": {"least": "1", "most": [1], "mean": [1]}}},
        {"series": {str(at): {"least": [1], "most": [1], "mean": [1]} for at in range(SERIES_MOST + 1)}},
    ],
)  # fmt: skip
def test_what_is_no_history_is_refused(change: dict[str, Any]) -> None:
    history_untrusted(answer(1.0))
    with pytest.raises(NoNumbers, match="no history"):
        history_untrusted({**answer(1.0), **change})


def test_more_buckets_than_any_span_has_are_refused() -> None:
    history_untrusted(answer(*[1.0] * BUCKETS_MOST, period_s=1))
    with pytest.raises(NoNumbers):
        history_untrusted(answer(*[1.0] * (BUCKETS_MOST + 1), period_s=1))


@given(JSON | st.fixed_dictionaries({"period_s": JSON, "lasts_s": JSON, "ages_s": JSON, "series": JSON}))
def test_any_answer_is_a_history_or_is_refused(found: Any) -> None:
    try:
        series = history_untrusted(found)
    except NoNumbers:
        return
    for line in table_lines([Past(one.name, (one,)) for one in series], ["hour"], 80):
        assert len(line) <= 80 and line.isprintable()


@given(st.text(max_size=60), st.lists(NUMBERS | st.none(), max_size=40), st.integers(0, 300), st.booleans())
def test_no_name_and_no_number_leaves_its_cell(
    name: str, values: list[float | None], width: int, is_plain: bool
) -> None:  # fmt: skip
    past = past_of(name, *values)
    lines = table_lines([past, past_of("watts", 1.0)], HEADS, width, is_plain=is_plain)
    assert len(lines) == 3
    for line in lines:
        assert len(line) <= width and line.isprintable()
        assert line[:10].isascii() and (line.isascii() or not is_plain)
        assert set(line) - set(map(chr, range(32, 127))) <= set("▁▂▃▄▅▆▇█")


def test_numbers_of_names_like_escapes_and_wide_characters_stand_in_the_same_column() -> None:
    names = ("watts", "\x1b[2J\x1b[H", "\u202eesrever", "家家家家家家", "e\u0301\u0301\u0301", "")
    lines = table_lines([past_of(name, 12.0) for name in names], HEADS[1:], 80, is_plain=True)[1:]
    assert {line.index("#") for line in lines} == {lines[0].index("#")}


def test_a_narrow_screen_keeps_the_last_value_and_the_longest_span() -> None:
    bucket = (Bucket(1.0, 1.0, 1.0, 1.0),)
    past = Past("frames", tuple(Series("frames", 1.0, 60.0, bucket) for _ in HEADS))
    assert table_lines([past], HEADS, 80)[0].split() == [
        "just",
        "now",
        "last",
        "hour",
        "last",
        "day",
        "last",
        "least",
        "most",
    ]
    assert table_lines([past], HEADS, 40)[0].split() == ["last", "day", "last", "most"]
    assert table_lines([past], HEADS, 30)[0].split() == ["last", "day", "last"]
