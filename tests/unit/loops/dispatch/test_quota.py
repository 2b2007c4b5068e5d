"""Room is shared by whoever wants it: nobody takes the last of it, and what was given back is free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.dispatch.quota import Quotas


def fill(room: Quotas, subject: str, size: int = 1) -> int:
    count = 0
    while room.take(subject, 1, size):
        count += 1
    return count


def test_one_alone_gets_half_two_a_third_and_whoever_comes_later_something() -> None:
    room = Quotas(1024, 1 << 40)
    assert fill(room, "a") == 512
    assert fill(room, "b") == 256
    assert fill(room, "c") == 128
    for _ in range(512):
        room.give_back("a", 1, 1)
    assert fill(room, "b") == 192, "what one gives back is shared again"
    assert fill(room, "d") > 100


def test_bytes_are_shared_likewise() -> None:
    room = Quotas(1024, 1000)
    assert fill(room, "a", 100) == 5
    assert fill(room, "b", 100) == 3, "200 are left"
    assert not room.take("c", 0, 201)
    assert room.take("c", 0, 200)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 300)), max_size=60))
def test_never_more_is_taken_than_there_is_and_all_of_it_comes_back(steps: list[tuple[str, int, int]]) -> None:
    room = Quotas(16, 1000)
    held: list[tuple[str, int, int]] = []
    for step in steps:
        if room.take(*step):
            held.append(step)
        assert sum(count for _, count, _ in held) <= 16
        assert sum(size for _, _, size in held) <= 1000
    for step in held:
        room.give_back(*step)
    assert room.take("d", 16, 1000)
