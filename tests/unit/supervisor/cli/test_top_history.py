"""What `top` draws: bars of the last samples, of a host whose processes come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.supervisor.cli.test_top_rows import loop, status

from tlsrt.supervisor.cli.top_history import SAMPLES, SERIES, History
from tlsrt.supervisor.cli.top_rows import rows_of
from tlsrt.supervisor.cli.top_series import columns_of, sparkline

VALUES = st.lists(st.floats(min_value=0, max_value=1e12, allow_nan=False), max_size=100)


@given(VALUES, st.integers(1, 80), st.floats(0, 100), st.booleans())
def test_bars_fill_the_width_and_say_which_value_is_larger(
    values: list[float], width: int, least: float, is_plain: bool
) -> None:
    bars = sparkline(values, width, least, is_plain=is_plain)
    shown = values[-width:]
    assert len(bars) == width and bars.isascii() is (is_plain or not values)
    drawn = bars[width - len(shown) :]
    heights = ["▁▂▃▄▅▆▇█".find(bar) if not is_plain else "_.-:=+*#".find(bar) for bar in drawn]
    assert -1 not in heights and bars[: width - len(shown)].isspace() is (len(shown) < width)
    assert all(
        (a <= b) or (x >= y) for a, x in zip(shown, heights, strict=True) for b, y in zip(shown, heights, strict=True)
    )
    if shown and max(shown) >= max(least, 1e-300):
        assert max(heights) == 7


def test_little_is_no_mountain() -> None:
    assert sparkline([0.0, 0.5, 5.0], 3, 5.0) == "▁▁█"
    assert sparkline([0.0, 0.5, 0.5], 3, 5.0) == "▁▁▁"


@pytest.mark.parametrize("later", [0, 7])
def test_a_process_that_begins_later_stands_behind_in_the_sum_and_one_that_is_gone_is_forgotten(later: int) -> None:
    history = History()
    usage = {"cpu_percent": 10.0, "frames_in_s": 1.0}
    for number in range(SAMPLES + 20):
        loops = [loop("third", usage=usage)] + ([loop("forth", usage=usage)] if number >= SAMPLES + 20 - later else [])
        history.add(rows_of(status(*loops)), float(number))
    assert history.of("third", "processor") == [10.0] * SAMPLES
    assert history.of_host("processor") == [10.0] * (SAMPLES - later) + [20.0] * later
    history.add(rows_of(status(loop("forth", usage=usage))), 1000.0)
    assert history.of("third", "processor") == [] and history.of("unknown", "calls") == []


def test_what_is_not_known_is_a_gap_and_no_zero() -> None:
    history = History()
    usage = {"cpu_percent": 0.0, "frames_in_s": 0.0}
    for number in range(12):
        history.add(rows_of(status(loop("third", usage=None if 4 <= number < 8 else usage))), float(number))
    assert history.of("third", "processor") == [0.0] * 4 + [None] * 4 + [0.0] * 4
    lately = next(past for past in history.past("third", 12.0) if past.name == "processor").spans[0]
    bars = sparkline(columns_of(lately, SAMPLES), SAMPLES, is_plain=True)
    assert bars.strip() == "____    ____"


def test_the_hour_and_the_day_keep_what_was_seen_and_let_go_of_what_is_older() -> None:
    history = History()
    for number in range(0, 7200, 5):
        third = loop("third", memory_kib=1 if number < 3600 else 2, frames={"in": 0, "out": 0, "refused": number * 3})
        history.add(rows_of(status(third)), float(number))
    pasts = {past.name: past for past in history.past("third", 7200.0)}
    assert tuple(pasts) == SERIES
    _, hour, day = pasts["memory"].spans
    assert {bucket.least for bucket in hour.buckets} == {2048.0} and hour.buckets[0].age_s <= 3610
    assert [day.buckets[0].most, day.buckets[-1].most] == [1024.0, 2048.0] and len(day.buckets) == 24
    assert {bucket.mean for bucket in pasts["refused"].spans[1].buckets} == {3.0}
    assert history.past("unknown", 7200.0) == [] and history.past(None, 7200.0)


def test_refusals_of_another_life_are_not_counted_from_the_one_before() -> None:
    history = History()
    for now_s, refused in ((0.0, 1000), (1.0, 1001), (2.0, 5), (3.0, 7)):
        frames = {"in": 0, "out": 0, "refused": refused}
        history.add(rows_of(status(loop("third", frames=frames))), now_s)
    assert history.of("third", "refused") == [None, 1.0, None, 2.0]
