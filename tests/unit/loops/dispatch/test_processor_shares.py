"""Processor shares: who computes much waits behind all others, and nothing of it is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakes.burning_components import Burner, Stage, burning, held, let_go, reached, staged
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.calls.flow_control import Credit, Inbox
from tlsrt.channels.frames.body import encode_value
from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.channels.session.endpoint import OpenedFrame
from tlsrt.errors import Busy, PeerError
from tlsrt.loops.dispatch.in_flight import RunningCall
from tlsrt.loops.dispatch.processor_shares import BURST_S, SLICE_S
from tlsrt.loops.dispatch.quota import Quotas


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


def test_a_stopping_component_turns_away_what_waits() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = held(wired)
        call = asyncio.ensure_future(wired.call("at_once", 1, 0.0))
        await reached(responder, 1)
        before = wired.kinds.count(FrameKind.ERROR)
        await responder.close(0)
        assert wired.kinds.count(FrameKind.ERROR) == before + 1, "away, which the caller repeats for a while"
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert wired.store.ran == []

    run(test, Burner)


def test_a_cancelled_a_late_and_a_gone_callers_request_never_run() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = held(wired)
        calls = [asyncio.ensure_future(wired.call("at_once", number, 0.0, timeout_s=1)) for number in range(2)]
        await reached(responder, 2)
        calls[0].cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        wired.world.now += 1500  # past every deadline
        wired.shares._is_scheduled = False
        wired.shares._schedule()
        await asyncio.gather(*calls, return_exceptions=True)
        assert wired.store.ran == []
        responder = held(wired)
        gone = asyncio.ensure_future(wired.call("at_once", 7, 0.0, timeout_s=1))
        await reached(responder, 1)
        responder.end_calls(Ending(subjects=(CONSOLE,)))
        assert not responder._held._headers
        wired.world.now += 1500
        wired.shares._is_scheduled = False
        wired.shares._schedule()
        await asyncio.gather(gone, return_exceptions=True)
        assert wired.store.ran == []

    burning(test)


def test_too_many_that_wait_are_busy_before_they_are_read() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = held(wired)
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


async def _five_parts() -> AsyncIterator[bytes]:
    for _ in range(5):
        yield b"x" * 1000


def test_an_upload_waits_unread_as_all_others_and_its_parts_find_it() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = held(wired)
        upload = asyncio.ensure_future(wired.hosts[CONSOLE].caller.upload(STORE, "swallow", _five_parts(), timeout_s=5))
        await reached(responder, 1)
        while wired.kinds.count(FrameKind.PART) < 6:
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        assert responder.running == 1 and not wired.store.ran
        assert responder._in_flight.quotas._taken[CONSOLE][1] > 5000, "its parts are charged"
        let_go(wired)
        assert await upload == 5000
        assert not responder._in_flight.quotas._taken and not wired.refused

    run(test, Burner)


def test_a_renewal_of_an_exchange_that_waits_is_no_offence() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder, caller = held(wired), wired.hosts[CONSOLE].caller

        async def heard() -> list[bytes]:
            return [item async for item in wired.hosts[CONSOLE].component.exchange(STORE, "echo", _five_parts(), 1)]

        items = asyncio.ensure_future(heard())
        await reached(responder, 1)
        (seq,) = caller._calls
        caller._send_credit(STORE, "echo", seq, 0)
        while FrameKind.CREDIT not in wired.kinds:
            await asyncio.sleep(0)
        let_go(wired)
        assert len(await items) == 5 and not wired.refused

    run(test)


@pytest.mark.parametrize("how", ["cancelled", "late", "gone", "stopping", "wrong"])
def test_a_held_upload_that_ends_leaves_nothing(how: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = held(wired)
        method = "swallow" if how != "wrong" else "at_once"
        upload = asyncio.ensure_future(wired.hosts[CONSOLE].caller.upload(STORE, method, _five_parts(), timeout_s=1))
        while wired.kinds.count(FrameKind.PART) < 6:
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        if how == "cancelled":
            upload.cancel()
        elif how == "late":
            wired.world.now += 1500
        elif how == "gone":
            responder.end_calls(Ending(subjects=(CONSOLE,)))
        elif how == "stopping":
            await responder.close(0)
        for _ in range(5):
            await asyncio.sleep(0)
        let_go(wired)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not wired.store.ran and not responder.running and not responder._held._headers
        assert not responder._in_flight.quotas._taken
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)

    burning(test)


@pytest.mark.parametrize("kind", [FrameKind.PART, FrameKind.CREDIT])
def test_what_belongs_to_a_call_is_refused_before_it_is_decoded(
    kind: FrameKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(wired: LinkedComponents) -> None:
        running = RunningCall(b"n" * 20, Header(*[None] * len(Header._fields)))  # type: ignore[arg-type]
        running.credit, running.upload, running.task = Credit(), Inbox(), asyncio.current_task()
        responder: Any = wired.hosts[STORE].responder
        responder._in_flight.by_name[running.name] = running

        def decode(body: bytes) -> object:
            raise AssertionError("it is decoded")

        monkeypatch.setattr("tlsrt.loops.dispatch.responder.decode_value_untrusted", decode)
        monkeypatch.setattr("tlsrt.channels.frames.body.decode_value_untrusted", decode)
        body = encode_value([[0] * 100] * 100)
        header = Header(1, kind, b"n" * 16, 1, 0, CONSOLE, STORE, 1, 1, "m", 1, 1, running.name, 0)
        with pytest.raises(PeerError, match="bad_part" if kind is FrameKind.PART else "bad_body"):
            responder.on_opened_untrusted(OpenedFrame(header, body, None))
        del responder._in_flight.by_name[running.name]

    run(test, Burner)


def test_pipelined_calls_that_await_run_in_order_when_the_second_is_held() -> None:
    async def test(wired: LinkedComponents) -> None:
        shares: Any = wired.shares
        now = 0.0
        shares._clock = lambda: now
        wired.turn.begin_turn()
        shares.must_wait(CONSOLE)
        responder: Any = wired.hosts[STORE].responder
        begin = responder._begin

        def expensive(*asked: Any) -> None:  # the first one is more than a slice to read
            nonlocal now
            begin(*asked)
            now += 2 * SLICE_S if not now else 0.0

        responder._begin = expensive
        take = wired.take

        def take_in_one_turn(subject: str, frame: Any, header: Any) -> None:
            if subject == STORE:
                wired.turn.begin_turn = lambda: None  # type: ignore[method-assign]
            try:
                take(subject, frame, header)
            finally:
                wired.turn.__dict__.pop("begin_turn", None)

        wired.take = take_in_one_turn  # type: ignore[method-assign]
        caller = wired.hosts[CONSOLE].caller
        caller._batcher = None  # a frame for each
        await asyncio.gather(*(caller.call(STORE, "in_steps", [number, 0.0], timeout_s=5) for number in range(2)))
        assert list(dict.fromkeys(number for _, number in wired.store.ran)) == [0, 1]

    run(test, Burner)
