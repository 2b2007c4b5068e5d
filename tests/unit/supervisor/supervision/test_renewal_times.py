"""When certificates are ordered again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.supervision.renewal_times import (
    FIRST_S,
    HOLD_LEAST_S,
    HOLD_MOST_S,
    MOST_S,
    WISH_MOST_S,
    RenewalTimes,
)

DAY = 86400
CHANCE = st.floats(0, 1)


@given(CHANCE, st.integers(600, 400 * DAY))
def test_it_is_renewed_around_two_thirds_of_its_life(chance: float, life: int) -> None:
    times = RenewalTimes()
    times.have(1000, 1000 + life, chance, 1000)
    assert 0.6 < (times.renew_at - 1000) / life < 0.75
    assert times.ask_at == 1000


@given(CHANCE, CHANCE)
def test_a_window_of_the_ca_decides_and_a_chosen_time_stays(first: float, second: float) -> None:
    times = RenewalTimes()
    times.have(0, 90 * DAY, first, 0)
    times.hear(10 * DAY, 12 * DAY, 21600, first, 100)
    chosen = times.renew_at
    assert 10 * DAY <= chosen <= 12 * DAY and times.ask_at == 21700
    times.hear(10 * DAY, 12 * DAY + 1, 1, second, 200)
    assert times.renew_at == chosen and times.ask_at == 3800
    times.hear(1, 2, 0, second, 300)  # revoked: now
    assert times.renew_at <= 2
    times.hear(1000 * DAY, 2000 * DAY, 0, second, 300)  # a CA cannot have it end first
    assert times.renew_at < 90 * DAY


@given(st.lists(CHANCE, min_size=1, max_size=40))
def test_failures_are_tried_again_ever_more_seldom(chances: list[float]) -> None:
    times, now = RenewalTimes(), 0.0
    for count, chance in enumerate(chances):
        times.fail(0, chance, now)
        delay = times.again_at - now
        assert 0.75 * min(FIRST_S * 2**count, MOST_S) - 1e-3 <= delay <= 1.25 * MOST_S + 1e-3
        now = times.again_at
    times.fail(10**9, 0.5, now)
    assert times.again_at - now <= WISH_MOST_S + 1e-3
    times.have(0, DAY, 0.5, now)
    assert (times.failures, times.again_at) == (0, 0.0)


@given(CHANCE, st.integers(-40 * 365 * DAY, DAY), st.integers(1, 90 * DAY), st.integers(0, 2 * DAY))
def test_a_success_is_followed_by_a_pause_whatever_the_ca_says(chance: float, begins: int, ends: int, end: int) -> None:
    times = RenewalTimes()
    times.have(begins, max(ends, begins + 1), chance, 0)
    times.hold(0)
    times.hear(1, 1 + end, 0, chance, 0)
    assert times.order_at(0, is_right=True) >= HOLD_LEAST_S
    assert times.order_at(0, is_right=False) == 0  # other names do not wait
    assert times.order_at(HOLD_MOST_S, is_right=True) == max(times.renew_at, times.held_until)
    assert times.order_at(-10 * DAY, is_right=True) == max(times.renew_at, 0)  # nor for a clock that was ahead


def test_failures_are_forgiven() -> None:
    times = RenewalTimes()
    times.have(0, 90 * DAY, 0.5, 0)
    times.fail(0, 0.5, 0)
    times.forgive()
    assert (times.failures, times.order_at(0, is_right=True)) == (0, times.renew_at)


def test_it_is_urgent_near_the_end() -> None:
    times = RenewalTimes()
    assert not times.is_urgent(5)
    times.have(0, 600, 0.5, 0)
    assert not times.is_urgent(400) and times.is_urgent(550)
