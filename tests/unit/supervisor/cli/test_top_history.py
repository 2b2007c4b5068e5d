"""What `top` draws: bars of the last samples, of a host whose processes come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.supervisor.cli.test_top_rows import loop, status

from tlsrt.supervisor.cli.top_history import SAMPLES, History, sparkline
from tlsrt.supervisor.cli.top_rows import rows_of

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
        history.add(rows_of(status(*loops)))
    assert history.of("third", "processor") == [10.0] * SAMPLES
    assert history.of_host("processor") == [10.0] * (SAMPLES - later) + [20.0] * later
    history.add(rows_of(status(loop("forth", usage=usage))))
    assert history.of("third", "processor") == [] and history.of("unknown", "calls") == []
