"""Allowances: what fills, and when it is enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.rate_limit import Bucket


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=60))
def test_nobody_takes_more_than_the_burst_and_what_came_after(steps: list[tuple[float, float]]) -> None:
    allowance, now, taken = Bucket(8, 2.0, 0.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if allowance.take(now, amount):
            taken += amount
    assert taken <= 8 + 2.0 * now + 1e-6


def test_an_allowance_refuses_without_taking_and_fills_again() -> None:
    allowance = Bucket(2, 1.0, 0.0)
    assert [allowance.take(0.0) for _ in range(3)] == [True, True, False]
    assert not allowance.take(0.9) and allowance.take(1.0)
    assert allowance.take(100.0, 2) and not allowance.take(100.0)
