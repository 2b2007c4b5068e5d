"""Backoff and intensity: exact tables, with chance as an argument, and their bounds for any chance."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.supervision import RestartConfig
from tlsrt.supervisor.supervision.backoff import RestartBackoff, RestartIntensity

DEFAULT = RestartConfig()
BOUNDS = [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def always(*numbers: float) -> Iterator[float]:
    return itertools.cycle(numbers)


def test_the_first_restart_is_at_once_and_then_the_bound_doubles_up_to_the_cap() -> None:
    backoff = RestartBackoff(DEFAULT, always(1.0).__next__)
    assert [backoff.died(0.0) for _ in range(11)] == BOUNDS


def test_full_jitter_is_the_whole_bound_times_chance() -> None:
    backoff = RestartBackoff(DEFAULT, always(0.0, 0.25, 0.5).__next__)
    assert [backoff.died(0.0) for _ in range(7)] == [0.0, 0.0, 0.1 * 0.25, 0.2 * 0.5, 0.0, 0.8 * 0.25, 1.6 * 0.5]


def test_the_first_restart_asks_no_chance() -> None:
    def never() -> float:
        raise AssertionError("nobody may ask")

    backoff = RestartBackoff(DEFAULT, never)
    assert [backoff.died(10.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_a_healthy_time_resets_the_delay_and_an_almost_healthy_one_does_not() -> None:
    backoff = RestartBackoff(DEFAULT, always(1.0).__next__)
    for _ in range(4):
        backoff.died(9.99)
    assert backoff.died(9.99) == 0.4
    assert backoff.died(10.0) == 0.0
    assert backoff.died(0.0) == 0.05
    backoff.forget()
    assert backoff.died(0.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=200))
def test_a_delay_is_never_negative_nor_above_its_bound(deaths: list[tuple[float, float]]) -> None:
    chances = [chance for _, chance in deaths]
    backoff = RestartBackoff(DEFAULT, iter([*chances, 0.0]).__next__)
    for active_s, _ in deaths:
        assert 0.0 <= backoff.died(active_s) <= backoff.bound_s <= DEFAULT.cap_s


def test_a_row_of_any_length_overflows_nothing() -> None:
    backoff = RestartBackoff(RestartConfig(cap_s=3600.0, first_s=0.001), always(1.0).__next__)
    assert [backoff.died(0.0) for _ in range(5000)][-1] == 3600.0


def test_ten_deaths_in_a_minute_are_too_many() -> None:
    intensity = RestartIntensity(DEFAULT)
    assert not any(intensity.died(6.0 * death) for death in range(9))
    assert intensity.count(48.0) == 9
    assert intensity.died(59.9)
    intensity.forget()
    assert (intensity.died(60.0), intensity.count(60.0)) == (False, 1)


def test_ten_deaths_in_more_than_a_minute_are_not() -> None:
    intensity = RestartIntensity(DEFAULT)
    assert not any(intensity.died(6.7 * death) for death in range(30))


def test_a_limit_of_one_allows_no_death() -> None:
    assert RestartIntensity(RestartConfig(deaths=1)).died(0.0)


@given(st.lists(st.floats(0, 1e6), max_size=100), st.integers(1, 10), st.floats(1, 1000))
def test_too_many_means_that_many_in_that_time(moments: list[float], deaths: int, window_s: float) -> None:
    intensity = RestartIntensity(RestartConfig(deaths=deaths, window_s=window_s))
    past: list[float] = []
    for now in sorted(moments):
        past.append(now)
        assert intensity.died(now) is (sum(now - one < window_s for one in past) >= deaths)
