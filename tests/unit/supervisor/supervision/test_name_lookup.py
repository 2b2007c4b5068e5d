"""When a name is asked for again, and how long what was heard is true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.supervision.name_lookup import (
    ABSENT_S,
    LEAST_S,
    LINGER_S,
    MOST_ADDRESSES,
    MOST_S,
    RETRY_MOST_S,
    STALE_S,
    NameLookup,
)

ONE, TWO = bytes(4), bytes([1, 2, 3, 4])


def test_an_address_is_asked_for_after_its_time_and_stays_a_while() -> None:
    lookup = NameLookup()
    lookup.ask()
    assert not lookup.is_due(1e9)
    lookup.found([ONE], 60, now=100)
    assert lookup.next_at == 160 and lookup.addresses(160 + LINGER_S - 1) == [ONE]
    lookup.found([TWO], 60, now=160)
    assert lookup.addresses(161) == [ONE, TWO]
    assert lookup.addresses(160 + LINGER_S) == [TWO]


def test_who_hurries_asks_before_the_time_and_no_more_often() -> None:
    lookup = NameLookup()
    lookup.found([ONE], 600, now=100)
    lookup.hurry(101)
    assert lookup.next_at == 100 + LEAST_S
    lookup.found([ONE], 600, now=110)
    lookup.hurry(200)
    assert lookup.next_at == 200 and lookup.is_due(200)
    lookup.fail("away", now=200)
    lookup.hurry(201)
    assert lookup.next_at == 201  # it would have asked by then in any case


def test_no_time_to_live_asks_without_a_pause_or_never_again() -> None:
    lookup = NameLookup()
    lookup.found([ONE], 0, now=0)
    assert lookup.next_at == LEAST_S
    lookup.found([ONE], 1e9, now=10)
    assert lookup.next_at == 10 + MOST_S


def test_a_server_that_fails_keeps_what_was_known_for_a_day() -> None:
    lookup, now = NameLookup(), 0.0
    lookup.found([ONE], 5, now)
    while now < STALE_S - 2 * RETRY_MOST_S:
        now = lookup.next_at
        lookup.fail("no server answers", now)
        assert lookup.addresses(now) == [ONE]
    for _ in range(10):
        now = lookup.next_at
        lookup.fail("no server answers", now)
    assert lookup.addresses(now + LINGER_S + RETRY_MOST_S) == []


def test_what_is_over_does_not_come_back_by_a_failure() -> None:
    lookup = NameLookup()
    lookup.found([ONE], 5, now=0)
    lookup.absent(now=5)
    lookup.fail("no server answers", now=1000)
    assert lookup.addresses(1000) == []


def test_a_name_that_is_not_there_any_more_ends_with_its_addresses() -> None:
    lookup = NameLookup()
    lookup.found([ONE], 5, now=0)
    lookup.absent(now=5)
    assert lookup.next_at == 5 + ABSENT_S and lookup.said == "no such name"
    assert lookup.addresses(6) == [ONE] and lookup.addresses(5 + LINGER_S) == []


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(0, 10**9)), max_size=200))
def test_no_server_fills_the_memory(answers: list[tuple[bytes, int]]) -> None:
    lookup = NameLookup()
    for number, (address, ttl_s) in enumerate(answers):
        lookup.found([address], ttl_s, now=float(number))
        assert 0 < len(lookup.addresses(float(number))) <= MOST_ADDRESSES
