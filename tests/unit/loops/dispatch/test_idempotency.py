"""Answers that repetitions get stay as long as a repetition may come, within bounds that are charged to subjects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tlsrt.channels.frames.frame import FrameKind
from tlsrt.errors import Busy
from tlsrt.loops.dispatch import idempotency
from tlsrt.loops.dispatch.idempotency import KEPT, SLACK_MS, IdempotentAnswers, Key


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


def key(number: int, subject: str = "third/a") -> Key:
    return subject, "m", str(number)


def run(test: Callable[[IdempotentAnswers, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = Clock()
        await test(IdempotentAnswers(clock), clock)

    asyncio.run(main())


def give(table: IdempotentAnswers, name: Key, deadline: int, body: bytes = b"\xc0") -> None:
    table.promise(name, deadline)
    table.keep(name, (FrameKind.REPLY, body))


def test_an_answer_stays_to_the_last_deadline_of_those_who_asked_whatever_comes_after_it() -> None:
    async def test(table: IdempotentAnswers, clock: Clock) -> None:
        give(table, key(0), clock.now + 100)
        assert table.known(key(0), clock.now + 200_000) is not None
        clock.now += 190_000
        for number in range(1, 3 * KEPT):
            give(table, key(number), clock.now - SLACK_MS)
        assert table.known(key(0), 0) is not None
        assert len(table) <= 2 * KEPT
        clock.now += 20_000
        for number in range(3 * KEPT, 5 * KEPT):
            give(table, key(number), clock.now + 1)
        assert table.known(key(0), 0) is None

    run(test)


def test_one_subject_that_fills_its_share_is_refused_before_anything_runs_and_nobody_else() -> None:
    async def test(table: IdempotentAnswers, clock: Clock) -> None:
        for number in range(idempotency.BYTES_PER_SUBJECT // (idempotency.KEY_BYTES + 1)):
            give(table, key(number), clock.now + 30_000)
        with pytest.raises(Busy):
            table.promise(key(-1), clock.now + 30_000)
        give(table, key(-1, "third/b"), clock.now + 30_000)
        assert table.known(key(0), 0) is not None
        clock.now += 30_000 + SLACK_MS
        give(table, key(-1), clock.now + 30_000)

    run(test)


def test_bytes_are_bounded_and_an_answer_without_room_is_told_to_have_run() -> None:
    async def test(table: IdempotentAnswers, clock: Clock) -> None:
        large = bytes(256 * 1024 - idempotency.KEY_BYTES)
        count = idempotency.BYTES_PER_SUBJECT // (256 * 1024)
        for number in range(count):
            give(table, key(number), clock.now + 30_000, large)
        with pytest.raises(Busy):
            table.promise(key(-1), clock.now + 30_000)
        table.promise(key(0, "third/b"), clock.now + 30_000)
        for number in range(1, count):
            give(table, key(number, "third/b"), clock.now + 30_000, large)
        give(table, key(-1, "third/b"), clock.now + 30_000, b"x")
        first = table.known(key(0, "third/b"), 0)
        table.keep(key(0, "third/b"), (FrameKind.REPLY, large))
        again = table.known(key(0, "third/b"), 0)
        assert first is not None and first.result() == (FrameKind.REPLY, large), "who waits already gets it"
        assert again is not None and again.result()[0] == FrameKind.ERROR
        assert b"outcome_unknown" in again.result()[1]

    run(test)


def test_a_promise_that_is_broken_leaves_nothing() -> None:
    async def test(table: IdempotentAnswers, clock: Clock) -> None:
        waiting = table.promise(key(0), clock.now + 1)
        table.break_promise(key(0))
        assert waiting.cancelled() and not len(table)
        give(table, key(0), clock.now + 1)
        table.break_promise(key(0))
        assert table.known(key(0), 0) is not None, "what was answered is no promise any more"

    run(test)
