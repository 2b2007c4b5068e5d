"""Processor shares: who computes much waits behind all others, and nothing of it is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, ProcessorNotes, run

from tlsrt import Component, handler
from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.frames.frame import FrameKind
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.errors import Busy
from tlsrt.loops.dispatch.processor_shares import BURST_S, SLICE_S, ProcessorShares
from tlsrt.loops.dispatch.quota import Quotas


class Stage:
    """Shares with a clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.batch = WriteBatch()
        self.notes = ProcessorNotes()
        self.shares = ProcessorShares(self.batch, self.notes, lambda: self.now)
        self.done: list[tuple[str, float]] = []

    def read(self, *requests: tuple[str, float]) -> None:
        """Take requests (subject, seconds of work) of one read."""
        self.batch.begin_turn()
        for subject, cost in requests:
            work = self._work(subject, cost)
            if self.shares.must_wait(subject):
                self.shares.wait(subject, subject.encode(), work)
            else:
                work()
                self.shares.used(subject)
        self.batch.end()

    def _work(self, subject: str, cost: float) -> Callable[[], None]:
        def work() -> None:
            self.now += cost
            self.done.append((subject, self.now))

        return work


def staged(test: Callable[[Stage], Any]) -> None:
    async def main() -> None:
        await test(Stage())

    asyncio.run(main())


def test_an_innocent_waits_for_a_slice_and_one_request() -> None:
    async def test(stage: Stage) -> None:
        stage.read(*[("hog", 0.005)] * 200)
        for _ in range(20):
            asked = stage.now
            stage.read(("innocent", 0.001))
            assert stage.done[-1] == ("innocent", stage.now)
            assert stage.now - asked < 0.0011
            await asyncio.sleep(0)
            assert stage.now - asked < 0.0011 + SLICE_S + 0.005
        while len(stage.done) < 220:
            await asyncio.sleep(0)

    staged(test)


def test_however_many_hogs_there_are() -> None:
    async def test(stage: Stage) -> None:
        hogs = [f"hog {number}" for number in range(30)]
        stage.read(*[(hog, 0.0004) for hog in hogs for _ in range(20)])
        await asyncio.sleep(0)
        asked = stage.now
        stage.read(*[(hog, 0.0004) for hog in hogs for _ in range(20)], ("innocent", 0.001))
        assert stage.done[-1][0] == "innocent" and stage.now - asked <= 0.002, "those who wait go on waiting"
        while len(stage.done) < 1201:
            await asyncio.sleep(0)
        order = [subject for subject, _ in stage.done[600:]]
        assert {order.count(hog) for hog in hogs} <= {19, 20, 21, *range(10, 40)}

    staged(test)


def test_who_is_alone_loses_nothing_and_keeps_its_order() -> None:
    async def test(stage: Stage) -> None:
        for _ in range(3):
            stage.read(*[("one", 0.001)] * 100)
        assert len(stage.done) == 3
        turns = 0
        while len(stage.done) < 300:
            await asyncio.sleep(0)
            turns += 1
        assert stage.now == pytest.approx(0.3) and turns <= 297 / (SLICE_S / 0.001) + 3
        assert not stage.notes.over, "no one else wanted the loop"

    staged(test)


def test_only_who_is_over_its_budget_beside_others_is_told_of_and_seldom() -> None:
    async def test(stage: Stage) -> None:
        for _ in range(60):
            stage.read(*[("hog", 0.005)] * 20)
            for _ in range(30):
                stage.read(("innocent", 0.0001))
                await asyncio.sleep(0)
        assert stage.now > 5 * BURST_S
        assert set(stage.notes.over) == {b"hog"} and len(stage.notes.over) <= 1 + stage.now / 5

    staged(test)


def test_a_request_that_fails_stops_no_other() -> None:
    async def test(stage: Stage) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        stage.read(*[("hog", 0.005)] * 2)

        def fail() -> None:
            raise ZeroDivisionError

        stage.shares.wait("hog", b"hog", fail)
        stage.read(*[("hog", 0.005)] * 2, ("other", 0.005), ("other", 0.005))
        for _ in range(20):
            await asyncio.sleep(0)
        assert [subject for subject, _ in stage.done].count("hog") == 4 and len(stage.done) == 6

    staged(test)


class Burner(Component):
    """Computes for as long as it is told, at once, in steps, and in a stream."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int]] = []

    def _burn(self, number: int, cost: float) -> int:
        self.ran.append((self.caller, number))
        end = time.perf_counter() + cost
        while time.perf_counter() < end:
            pass
        return number

    @handler
    async def at_once(self, number: int, cost: float) -> int:
        return self._burn(number, cost)

    @handler
    async def in_steps(self, number: int, cost: float) -> int:
        for _ in range(3):
            self._burn(number, cost / 3)
            await asyncio.sleep(0)
        return number

    @handler
    async def items(self, number: int, cost: float) -> AsyncIterator[int]:
        for at in range(number):
            yield self._burn(at, cost)

    @handler
    async def swallow(self, data: AsyncIterator[bytes]) -> int:
        return sum([len(part) async for part in data])


def test_every_call_is_answered_once_and_in_order() -> None:
    async def test(wired: LinkedComponents) -> None:
        results = await asyncio.gather(*(wired.call("at_once", number, 0.003) for number in range(50)))
        assert results == list(range(50))
        assert [number for _, number in wired.store.ran] == results
        results = await asyncio.gather(*(wired.call("in_steps", number, 0.003) for number in range(30)))
        assert results == list(range(30))
        stream = wired.hosts[CONSOLE].caller.stream(STORE, "items", [60, 0.001], {}, timeout_s=8)
        assert [item async for item in stream] == list(range(60))

    run(test, Burner)


def test_what_waits_is_cancelled_ended_and_turned_away() -> None:
    async def test(wired: LinkedComponents) -> None:
        shares = wired.shares
        session = wired.hosts[CONSOLE].endpoint.session
        shares.must_wait(CONSOLE)
        shares.wait(CONSOLE, session, lambda: time.sleep(3 * SLICE_S))  # from now on its requests wait
        blocked = [asyncio.ensure_future(wired.call("at_once", number, 0.0)) for number in range(3)]
        for _ in range(2):
            await asyncio.sleep(0)
        blocked[0].cancel()
        results = await asyncio.gather(*blocked, return_exceptions=True)
        assert results[1:] == [1, 2]

    run(test, Burner)


def _held(wired: LinkedComponents) -> Any:
    """Have the console's requests wait for good."""
    wired.shares.must_wait(CONSOLE)
    wired.shares._is_scheduled = True  # by no one
    wired.shares.wait(CONSOLE, b"", lambda: None)
    return wired.hosts[STORE].responder


async def _reached(responder: Any, count: int) -> None:
    while len(responder._held._headers) < count:
        await asyncio.sleep(0)


def test_a_stopping_component_turns_away_what_waits() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = _held(wired)
        call = asyncio.ensure_future(wired.call("at_once", 1, 0.0))
        await _reached(responder, 1)
        before = wired.kinds.count(FrameKind.ERROR)
        await responder.close(0)
        assert wired.kinds.count(FrameKind.ERROR) == before + 1, "away, which the caller repeats for a while"
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert wired.store.ran == []

    run(test, Burner)


def test_a_cancelled_a_late_and_a_gone_callers_request_never_run() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = _held(wired)
        calls = [asyncio.ensure_future(wired.call("at_once", number, 0.0, timeout_s=1)) for number in range(2)]
        await _reached(responder, 2)
        calls[0].cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        wired.world.now += 1500  # past every deadline
        wired.shares._is_scheduled = False
        wired.shares._schedule()
        await asyncio.gather(*calls, return_exceptions=True)
        assert wired.store.ran == []
        responder = _held(wired)
        gone = asyncio.ensure_future(wired.call("at_once", 7, 0.0, timeout_s=1))
        await _reached(responder, 1)
        responder.end_calls(Ending(subjects=(CONSOLE,)))
        assert not responder._held._headers
        wired.world.now += 1500
        wired.shares._is_scheduled = False
        wired.shares._schedule()
        await asyncio.gather(gone, return_exceptions=True)
        assert wired.store.ran == []

    async def main() -> None:
        async with asyncio.timeout(10):
            await test(LinkedComponents(Burner))

    asyncio.run(main())


def test_too_many_that_wait_are_busy_before_they_are_read() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = _held(wired)
        responder._in_flight.quotas = Quotas(8, 1 << 20)
        calls = [asyncio.ensure_future(wired.call("at_once", number, 0.0)) for number in range(9)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(call.exception(), Busy) for call in done)
        wired.shares._is_scheduled = False
        wired.shares._schedule()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {int, Busy}
        assert len(wired.store.ran) == sum(isinstance(result, int) for result in results)

    run(test, Burner)


def test_an_upload_waits_for_no_turn_as_its_parts_come_next() -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.shares.must_wait(CONSOLE)
        wired.shares.wait(CONSOLE, b"", lambda: time.sleep(3 * SLICE_S))

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(5):
                yield b"x" * 1000

        assert await wired.hosts[CONSOLE].caller.upload(STORE, "swallow", parts(), timeout_s=5) == 5000

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
