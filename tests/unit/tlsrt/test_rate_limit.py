"""Rate limits: what they let pass, what fills again, what is owed, and that their memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.rate_limit import Bucket, Buckets


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=60))
def test_nobody_takes_more_than_the_burst_and_what_came_after(steps: list[tuple[float, float]]) -> None:
    bucket, now, taken = Bucket(8, 2.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if bucket.take(now, amount):
            taken += amount
    assert taken <= 8 + 2.0 * now + 1e-6


def test_a_bucket_refuses_without_taking_and_fills_again() -> None:
    bucket = Bucket(2, 1.0)
    assert [bucket.take(5.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(5.9) and bucket.take(6.0)
    assert bucket.take(100.0, 2) and not bucket.take(100.0)


def test_fractions_of_any_size_add_up() -> None:
    bucket = Bucket(1, 1, clock_hz=1000)
    assert bucket.take(1000)
    assert not any(bucket.take(now) for now in range(1000, 2000, 7))
    assert bucket.take(2000)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 4)), max_size=60))
def test_what_is_owed_is_bounded_and_is_had_again_when_it_is_said(steps: list[tuple[float, float]]) -> None:
    bucket, now = Bucket(4, 2.0, debt=6.0), 0.0
    for pause, amount in steps:
        now += pause
        wait = bucket.owe(now, amount)
        assert 0 <= wait <= 3.0
        assert wait == 0 or not bucket.take(now)
    wait = bucket.owe(now, 5)
    assert wait > 0 and bucket.take(now + wait + 0.5 + 1e-6)


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = Bucket(1, 1.0)
    assert bucket.take(10.0) and not bucket.take(0.0) and bucket.take(1.0)


def test_each_key_has_its_own() -> None:
    buckets = Buckets(3, 2)
    assert [buckets.take("a", 10.0) for _ in range(4)] == [True, True, True, False]
    assert not buckets.take("a", 10.4) and buckets.take("a", 10.5)
    assert buckets.take("b", 10.5)


def test_what_is_full_is_forgotten() -> None:
    buckets = Buckets(2, 1)
    buckets.take("a", 0.0)
    buckets.take("b", 5.0)
    assert len(buckets) == 1


def test_many_keys_take_no_more_room() -> None:
    buckets = Buckets(2, 0.001, keys_max=100)
    for number in range(10_000):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 100


@given(st.lists(st.floats(0, 5), max_size=80))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    buckets, now, passed = Buckets(5, 3), 0.0, 0
    for pause in pauses:
        now += pause
        passed += buckets.take("a", now)
    assert passed <= 5 + 3 * now + 1e-6
