"""How many frames a client may send a second: never more than its rate, never fewer, and what is owed is soon paid."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.loops.gate.frame_rate import DEBT_S, FrameRates, frame_rate
from tlsrt.rate_limit import Bucket

RATES = st.integers(1, 400)
PAUSES = st.lists(st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 100_000)), min_size=1, max_size=60)


def ask(rate: Bucket, now: int) -> bool:
    """A request, as Primary counts it."""
    if rate.left >= 1:
        rate.left -= 1
        return True
    return rate.take(now)


def started(per_s: int, now: int) -> Bucket:
    """A bucket that has seen the clock."""
    rate = frame_rate(per_s)
    rate.refill(now)
    return rate


@settings(deadline=None)
@given(RATES, PAUSES, st.integers(0, 60_000))
def test_in_no_time_do_more_pass_than_the_rate_and_a_second_of_it(per_s: int, pauses: list[int], now: int) -> None:
    rate = started(per_s, now)
    passed: list[int] = []
    for pause in pauses:
        now += pause
        passed += [now for _ in range(per_s // 40 + 3) if ask(rate, now)]
    for first in range(0, len(passed), max(1, len(passed) // 20)):
        for last in range(first, len(passed), max(1, len(passed) // 20)):
            span_s = (passed[last] - passed[first]) / 1000
            assert last - first + 1 <= per_s * span_s + max(per_s, 2) + 1


@settings(deadline=None)
@given(RATES, st.lists(st.integers(0, 2000), max_size=100))
def test_who_keeps_to_the_rate_is_never_refused(per_s: int, pauses: list[int]) -> None:
    now = 0
    rate = started(per_s, now)
    for pause in pauses:
        now += -(-1000 // per_s) + pause
        assert ask(rate, now)


@settings(deadline=None)
@given(RATES, st.integers(0, 200), st.integers(0, 1000))
def test_refusals_cost_nothing_and_one_passes_when_its_time_has_come(per_s: int, tries: int, begin: int) -> None:
    rate = started(per_s, begin)
    while ask(rate, begin):
        pass
    assert not any(ask(rate, begin) for _ in range(tries))
    assert ask(rate, begin + -(-1000 // per_s))


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 400))
def test_what_is_owed_is_paid_in_ten_seconds_at_most(per_s: int, frames: int) -> None:
    rate = frame_rate(per_s)
    waits = [0.0]
    for _ in range(frames):  # parts, credits, cancels: they pass, whatever is left
        if not ask(rate, 0):
            waits.append(rate.owe(0))
    assert waits == sorted(waits) and waits[-1] <= DEBT_S
    assert ask(rate, int(waits[-1] * 1000) + -(-1000 // per_s) + 1)


def test_a_clock_that_stands_or_steps_back_gives_nothing() -> None:
    rate = started(1, 10_000)
    assert ask(rate, 10_000) and not ask(rate, 10_000) and not ask(rate, 0) and ask(rate, 1_000)


def test_connections_of_one_client_share_a_bucket_and_each_client_has_its_own() -> None:
    rates = FrameRates(50_000, {"phone": 7})
    phone, other = rates.of("client/phone", 5_000), rates.of("client/other", 5_000)
    assert rates.of("client/phone", 6_000) is phone and other is not phone
    assert (phone.per_s, other.per_s) == (7, 50_000)


def test_a_new_bucket_has_saved_nothing_since_the_machine_began() -> None:
    """What is taken without a look at the clock is the burst, and not the burst twice."""
    rate = FrameRates(100, {}).of("client/phone", 5_000)
    rate.left -= 50
    assert not rate.take(5_000)
    assert rate.take(5_010) and not rate.take(5_010)
