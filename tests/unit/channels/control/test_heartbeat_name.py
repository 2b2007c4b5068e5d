"""Beats and the name of the thread that made them: what a thread that cannot rename another can and cannot claim."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.heartbeat_name import NAME_MAX, is_carried, pulse_name

NUMBERS = st.integers(0, (1 << 64) - 1)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40), NUMBERS)
def test_a_name_fits_and_carries_its_number(loop: str, number: int) -> None:
    name = pulse_name(loop, number)
    assert len(name) <= NAME_MAX
    assert name.startswith(loop.encode()[:9])


def test_a_name_reads_as_people_expect() -> None:
    assert pulse_name("secondary", 42) == b"secondary/00042"
    assert pulse_name("io", 1_234_567) == b"io/34567"


@given(NUMBERS.filter(lambda number: number > 0), st.integers(0, 1000))
def test_the_thread_that_has_made_a_beat_carries_it_or_a_later_one(number: int, later: int) -> None:
    comm = pulse_name("third", number + later) + b"\n"
    assert is_carried(comm, number, number - 1)


@given(NUMBERS, NUMBERS)
def test_while_the_main_thread_is_stuck_no_number_is_believed(stuck_at: int, claimed: int) -> None:
    """Its name stays that of the last beat, which the supervisor has had; a side thread may claim what it likes."""
    assert not is_carried(pulse_name("third", stuck_at) + b"\n", claimed, last=stuck_at)


@given(st.binary(max_size=16), NUMBERS, NUMBERS)
def test_no_name_makes_it_fail(comm: bytes, number: int, last: int) -> None:
    is_carried(comm, number, last)


@pytest.mark.parametrize("comm", [b"", b"python3\n", b"ZMQbg/IO/0\n", b"third\n", b"third/1234\n"])
def test_a_name_without_a_number_carries_none(comm: bytes) -> None:
    assert not is_carried(comm, 1, 0)


def test_a_loop_that_was_not_heard_for_long_is_believed_again() -> None:
    assert is_carried(pulse_name("third", 700), 300, last=20)
