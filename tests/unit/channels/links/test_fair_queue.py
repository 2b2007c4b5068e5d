"""Frames that wait leave in turns of their sources, in order of each, within bounds that are shared."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.links.fair_queue import QUANTUM, FairQueue


def fill(queue: FairQueue, source: str, frame: bytes = b"x" * 400) -> int:
    count = 0
    while queue.put(source, frame):
        count += 1
    return count


def test_a_flood_takes_half_and_whoever_comes_later_waits_for_one_turn_of_it() -> None:
    queue = FairQueue(1024, 1 << 30)
    assert fill(queue, "flood") == 512
    assert queue.put("innocent", b"innocent")
    before = 0
    while queue.take() != b"innocent":
        before += 1
    assert before <= QUANTUM // 400 + 1


def test_large_frames_pay_for_themselves() -> None:
    queue = FairQueue(1 << 20, 1 << 30)
    for _ in range(20):
        queue.put("large", b"L" * 100_000)
    for _ in range(2000):
        queue.put("small", b"s" * 100)
    sizes: defaultdict[bytes, int] = defaultdict(int)
    for _ in range(1500):
        frame = queue.take()
        sizes[frame[:1]] += len(frame)
    assert abs(sizes[b"L"] - sizes[b"s"]) <= 100_000 + 2 * QUANTUM


def test_bytes_are_bounded_and_shared() -> None:
    queue = FairQueue(1 << 20, 1_000_000)
    assert fill(queue, "a", bytes(100_000)) == 5
    assert fill(queue, "b", bytes(100_000)) == 3
    assert queue.put("c", bytes(1000))


@given(st.lists(st.none() | st.tuples(st.sampled_from("abcd"), st.integers(1, 9000)), max_size=200))
def test_frames_of_a_source_keep_their_order_and_none_is_lost(steps: list[tuple[str, int] | None]) -> None:
    queue = FairQueue(64, 100_000)
    sent: defaultdict[str, list[bytes]] = defaultdict(list)
    got: defaultdict[str, list[bytes]] = defaultdict(list)
    number = 0

    def take() -> None:
        frame = queue.take()
        got[frame[:1].decode()].append(frame)

    for step in steps:
        if step is None:
            if queue.count:
                take()
            continue
        source, size = step
        number += 1
        frame = source.encode() + number.to_bytes(4, "big") + bytes(size)
        if queue.put(source, frame):
            sent[source].append(frame)
    for frame in queue.take_all():
        got[frame[:1].decode()].append(frame)
    assert got == sent
    assert queue.count == 0
    assert fill(queue, "e", bytes(1000)) == 32
