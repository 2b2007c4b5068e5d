"""Processor shares of handlers that go on after an await: each step waits as a request does, and nothing is lost."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

import pytest
from fakes.burning_components import Burner, Stage, burning, held, let_go, reached, staged
from fakes.linked_components import CONSOLE, LinkedComponents, run

from tlsrt.channels.calls.ending import Ending
from tlsrt.loops.dispatch.processor_shares import SLICE_S

PIECE_S = 0.005


def test_an_innocent_waits_for_two_pieces_of_handlers_that_compute_after_an_await() -> None:
    """40 handlers of one caller, each of which computes for 5 ms, awaits and goes on: 200 ms in each turn."""

    async def test(stage: Stage) -> None:
        async def compute(pieces: int, cost: float) -> None:
            for _ in range(pieces):
                await asyncio.sleep(0)
                stage.now += cost

        async def begun(subject: str, pieces: int, cost: float) -> None:
            if stage.shares.must_wait(subject):
                await stage.shares.turn(subject, subject.encode(), is_first=True)
            await stage.shares.metered(subject, subject.encode(), compute(pieces, cost))

        hogs = [asyncio.ensure_future(begun("hog", 50, PIECE_S)) for _ in range(40)]
        await asyncio.sleep(0)
        waits: list[float] = []
        for number in range(200):
            asked = stage.now
            if number % 2:
                await asyncio.ensure_future(begun("innocent", 1, 0.0))
            else:
                stage.read(("innocent", 0.0))
                await asyncio.sleep(0)
            waits.append(stage.now - asked)
        assert stage.now > 50 * PIECE_S, "the handlers go on"
        assert statistics.median(waits) <= 2 * PIECE_S and max(waits) <= 3 * PIECE_S
        await asyncio.gather(*hogs)
        assert stage.now == pytest.approx(40 * 50 * PIECE_S), "and nothing of theirs is lost"
        assert not stage.shares._waiting

    staged(test)


def test_small_steps_promise_no_room_for_large_ones() -> None:
    async def test(stage: Stage) -> None:
        async def compute(number: int) -> None:
            for at in range(20):
                await asyncio.sleep(0)
                stage.now += 0.02 if (at + number) % 8 == 0 else 0.000001

        tasks = [asyncio.ensure_future(stage.shares.metered("hog", b"hog", compute(number))) for number in range(64)]
        await asyncio.sleep(0)
        most = 0.0
        while not all(task.done() for task in tasks):
            before = stage.now
            await asyncio.sleep(0)
            most = max(most, stage.now - before)
        assert most < 2 * 0.02 + SLICE_S, "one in each turn"
        assert not stage.shares._waiting

    staged(test)


@pytest.mark.parametrize("how", ["cancelled", "late", "gone", "stopping", "go on"])
def test_a_step_that_waits_is_cancelled_at_once_and_leaves_nothing(how: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        shares: Any = wired.shares
        shares._clock = lambda: 0.0  # so that nothing waits before it is told to
        calls = [asyncio.ensure_future(wired.call("in_steps", number, 0.0)) for number in range(4)]
        while len(wired.store.ran) < 4:
            await asyncio.sleep(0)
        responder = held(wired)  # and so do their next steps
        for _ in range(3):
            await asyncio.sleep(0)
        begun = len(wired.store.ran)
        assert len(shares._waiting[CONSOLE].later_steps) == 4 and begun < 12
        if how == "cancelled":
            for call in calls:
                call.cancel()
        elif how == "late":
            for request in list(responder._in_flight.by_name.values()):
                responder._in_flight.stop(request)
        elif how == "gone":
            responder.end_calls(Ending(subjects=(CONSOLE,)))
        elif how == "stopping":
            await responder.close(0)
        for _ in range(5):
            await asyncio.sleep(0)
        if how == "go on":
            assert len(wired.store.ran) == begun and responder.running == 4
            let_go(wired)
            assert await asyncio.gather(*calls) == [0, 1, 2, 3] and len(wired.store.ran) == 12
        else:
            assert not responder.running and len(wired.store.ran) == begun, "what is cancelled waits for no turn"
            let_go(wired)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not shares._waiting and not responder._in_flight.quotas._taken
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    burning(test)


def test_a_step_that_waits_raises_then_what_it_was_to_raise() -> None:
    async def test(stage: Stage) -> None:
        async def work(future: asyncio.Future[int]) -> str:
            stage.now += 2 * SLICE_S
            try:
                return str(await future)
            except ValueError as error:
                return f"{error} at {len(stage.done)}"

        futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
        tasks = [asyncio.ensure_future(stage.shares.metered("a", b"a", work(future))) for future in futures]
        await asyncio.sleep(0)
        stage.shares._is_scheduled = True  # by no one
        stage.read(("a", 0.005), ("a", 0.005))
        futures[0].set_exception(ValueError("no"))
        futures[1].set_result(7)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks), "they wait"
        stage.shares._is_scheduled = False
        stage.shares._schedule()
        assert await asyncio.gather(*tasks) == ["no at 2", "7"]

    staged(test)


def test_a_first_turn_goes_before_what_is_unread_and_behind_other_first_turns() -> None:
    async def test(stage: Stage) -> None:
        stage.shares._is_scheduled = True  # by no one
        stage.read(*[("one", 0.005)] * 3)
        order: list[str] = []

        async def first(name: str) -> None:
            await stage.shares.turn("one", b"one", is_first=True)
            order.append(f"{name} after {len(stage.done)}")

        async def later() -> None:
            await stage.shares.turn("one", b"one", is_first=False)
            order.append(f"later after {len(stage.done)}")

        tasks = [asyncio.ensure_future(work) for work in (later(), first("a"), first("b"))]
        await asyncio.sleep(0)
        stage.shares._is_scheduled = False
        stage.shares._schedule()
        await asyncio.gather(*tasks)
        assert order == ["a after 1", "b after 1", "later after 2"], "an unread one and a later step in turn"

    staged(test)


def test_what_it_takes_to_hold_a_request_is_not_charged_to_the_next_caller() -> None:
    async def test(wired: LinkedComponents) -> None:
        shares: Any = wired.shares
        now = 0.0
        shares._clock = lambda: now
        responder = held(wired)
        wait = responder._wait

        def slow(*asked: Any) -> None:
            nonlocal now
            now += 1.0
            wait(*asked)

        responder._wait = slow
        call = asyncio.ensure_future(wired.call("at_once", 1, 0.0))
        await reached(responder, 1)
        assert not shares.must_wait("third/other")
        shares.used("third/other")
        assert shares._used["third/other"] == 0.0
        let_go(wired)
        await call

    run(test, Burner)


def test_a_metered_handler_sees_what_an_unmetered_one_does() -> None:
    async def test(stage: Stage) -> None:
        seen: list[type[BaseException]] = []

        async def work(future: asyncio.Future[int]) -> int:
            try:
                number = await future
            except BaseException as error:
                seen.append(type(error))
                raise
            return number + 1

        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        loop.call_soon(future.set_result, 4)
        assert await stage.shares.metered("a", b"a", work(future)) == 5
        future = loop.create_future()
        loop.call_soon(future.set_exception, ValueError("x"))
        with pytest.raises(ValueError, match="x"):
            await stage.shares.metered("a", b"a", work(future))

        async def metered() -> int:
            result: int = await stage.shares.metered("a", b"a", work(loop.create_future()))
            return result

        task = asyncio.ensure_future(metered())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [ValueError, asyncio.CancelledError]

    staged(test)
