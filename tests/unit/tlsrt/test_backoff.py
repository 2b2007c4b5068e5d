"""Backoff: pauses double up to a bound, and many that begin at once are spread."""

from __future__ import annotations

from tlsrt.backoff import Backoff, bound_of


def test_the_bound_of_many_attempts_is_the_cap() -> None:
    assert [bound_of(attempt, 0.5, 4.0) for attempt in (0, 1, 2, 3, 4, 10_000)] == [0.5, 1, 2, 4, 4, 4]


def test_pauses_double_are_bounded_and_spread() -> None:
    backoff = Backoff(0.1, 10.0, lambda: 1.0)
    assert [round(backoff.pause(), 1) for _ in range(10)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]
    backoff.reset()
    assert backoff.pause() == 0.1
    assert 1.0 <= Backoff(0.1, 10).pause(1.0) <= 2.0


def test_a_thousand_clients_come_back_spread() -> None:
    """All lose the host at once and it is away for a minute: no tenth of a second sees more than a few of them."""
    slots: dict[int, int] = {}
    total = 0
    for _ in range(1000):
        backoff, at = Backoff(0.1, 10.0), 0.0
        while at < 60:
            at += backoff.pause()
            total += 1
            if at > 20:
                slots[int(at * 10)] = slots.get(int(at * 10), 0) + 1
    assert max(slots.values()) < 60, "a thousand in 5 s on average are 20 a tenth"
    assert total < 1000 * 25
