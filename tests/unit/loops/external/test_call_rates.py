"""How fast pieces of another host may come: so many at once, so many a second, and never more than at the beginning."""

from __future__ import annotations

from tlsrt.loops.external.call_rates import Pieces


def test_no_more_than_a_burst_at_once_and_then_so_many_a_second() -> None:
    pieces = Pieces(3, 2)
    assert [pieces.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [pieces.take(10.5) for _ in range(2)] == [True, False]
    assert [pieces.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_steps_back_gives_nothing() -> None:
    pieces = Pieces(1, 1)
    assert pieces.take(10.0)
    assert not pieces.take(5.0)
    assert not pieces.take(5.5)
