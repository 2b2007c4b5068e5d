"""The queue of a reader of a stream, against a model: whatever it takes and whenever, no line is lost unsaid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.control.stream import LineQueue

LIMIT = 200


def gap(count: int) -> bytes:
    return b"lost %d\n" % count


@given(st.lists(st.one_of(st.integers(1, 120), st.integers(-150, -1)), max_size=200))
def test_every_line_comes_whole_and_in_order_or_is_counted(steps: list[int]) -> None:
    queue = LineQueue(LIMIT, gap)
    received = bytearray()
    number = 0
    for step in steps:
        if step > 0:
            queue.push(b"line %d %s\n" % (number, b"x" * step))
            number += 1
        else:
            piece = queue.piece(-step)
            assert len(piece) <= -step
            queue.sent(len(piece))
            received += piece
        assert queue.size <= LIMIT + len(gap(number))
    while piece := queue.piece(1000):
        queue.sent(len(piece))
        received += piece
    assert queue.size == 0
    assert queue.dropped == 0
    expected = 0
    for line in received.splitlines():
        word, count, *_ = line.split()
        if word == b"lost":
            expected += int(count)
        else:
            assert int(count) == expected
            expected += 1
    assert expected == number


def test_a_line_that_is_larger_than_the_bound_is_a_gap() -> None:
    queue = LineQueue(LIMIT, gap)
    queue.push(b"x" * (LIMIT + 1))
    assert queue.piece(100) == b"lost 1\n"
