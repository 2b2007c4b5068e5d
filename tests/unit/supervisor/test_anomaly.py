"""Scores and allowances: what fades, what fills, and when it is enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.allowance import Allowance
from tlsrt.supervisor.anomaly import HALF_LIFE_MS, LIMIT, AnomalyScores, faded


def test_a_score_halves_in_a_minute_and_is_kept_by_loop() -> None:
    scores = AnomalyScores()
    assert scores.charge("third", 40, 1000) == (40, False)
    assert scores.score("third", 1000 + HALF_LIFE_MS) == 20
    assert scores.score("secondary", 1000) == 0
    assert scores.score("third", 0) == 40  # time that goes back takes nothing away


def test_it_is_an_anomaly_once_each_time_it_rises_over_the_limit() -> None:
    scores = AnomalyScores()
    assert [scores.charge("third", 50, 0)[1] for _ in range(4)] == [False, True, False, False]
    assert scores.charge("third", 1, 3 * HALF_LIFE_MS)[1] is False
    assert scores.charge("third", int(LIMIT), 3 * HALF_LIFE_MS)[1] is True


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10**6)), max_size=40))
def test_a_score_is_never_above_what_was_charged(charges: list[tuple[int, int]]) -> None:
    scores, now = AnomalyScores(), 0
    for points, pause in charges:
        now += pause
        scores.charge("x", points, now)
    assert 0 <= scores.score("x", now) <= sum(points for points, _ in charges) + 1e-6
    assert faded(scores.score("x", now), 60 * HALF_LIFE_MS) < 1e-6 * max(1.0, scores.score("x", now))


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=60))
def test_nobody_takes_more_than_the_burst_and_what_came_after(steps: list[tuple[float, float]]) -> None:
    allowance, now, taken = Allowance(8, 2.0, 0.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if allowance.take(now, amount):
            taken += amount
    assert taken <= 8 + 2.0 * now + 1e-6


def test_an_allowance_refuses_without_taking_and_fills_again() -> None:
    allowance = Allowance(2, 1.0, 0.0)
    assert [allowance.take(0.0) for _ in range(3)] == [True, True, False]
    assert not allowance.take(0.9) and allowance.take(1.0)
    assert allowance.take(100.0, 2) and not allowance.take(100.0)
