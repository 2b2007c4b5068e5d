"""Token buckets: what they let pass, and that their memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.gate.rate_limits import RateLimits


def test_a_burst_then_the_rate() -> None:
    rates = RateLimits(rate=2, burst=3)
    assert [rates.take("a", 10.0) for _ in range(4)] == [True, True, True, False]
    assert not rates.take("a", 10.4) and rates.take("a", 10.5)
    assert rates.take("b", 10.5)  # another one has its own


def test_what_is_full_is_forgotten() -> None:
    rates = RateLimits(rate=1, burst=2)
    rates.take("a", 0.0)
    rates.take("b", 5.0)
    assert len(rates) == 1


def test_many_keys_take_no_more_room() -> None:
    rates = RateLimits(rate=0.001, burst=2, keys_max=100)
    for number in range(10_000):
        rates.take(str(number), 0.0)
    assert len(rates) == 100


@given(st.lists(st.floats(0, 5), max_size=80))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    rates, now, passed = RateLimits(rate=3, burst=5), 0.0, 0
    for pause in pauses:
        now += pause
        passed += rates.take("a", now)
    assert passed <= 5 + 3 * now + 1e-6
