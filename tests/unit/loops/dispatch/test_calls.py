"""Calls, streams and uploads from a Caller through the gate to a Responder, in one process, with real keys."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest
from fakes.wired_calls import CONSOLE, STORE, Wired, fails, run

from tlsrt.budget import Budget
from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted
from tlsrt.errors import (
    Busy,
    Cancelled,
    DeadlineExceeded,
    Denied,
    Failed,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    PeerError,
    Rejected,
    StreamBroken,
    Unavailable,
)


def test_a_call_and_who_made_it() -> None:
    async def test(wired: Wired) -> None:
        assert await wired.call("get", "greeting") == "greeting for third/console"
        assert await wired.caller.call(STORE, "get", (), {"key": "named"}) == "named for third/console"

    run(test)


def test_who_fills_a_share_at_a_component_is_told_busy_and_reported() -> None:
    async def test(wired: Wired) -> None:
        assert "waits for the disk already" in (await fails(Busy, wired.call("put", "full"))).message
        assert [budget for _, budget in wired.notes.others] == [Budget.DISK]

    run(test)


def test_errors_that_the_caller_may_know() -> None:
    async def test(wired: Wired) -> None:
        assert "key: expected str" in (await fails(InvalidArgument, wired.call("get", 5))).message
        assert "did you mean" in (await fails(NotFound, wired.call("gett", "x"))).message
        assert (await fails(NotFound, wired.call("put", "error"))).message == "no such thing"
        await fails(Denied, wired.caller.call("forth/power", "status"))
        await fails(InvalidArgument, wired.call("get", object()))
        await fails(InvalidArgument, wired.call("get", b"x" * 300_000))
        await fails(InvalidArgument, wired.call("many", 3))
        await fails(InvalidArgument, wired.call("get", "x", timeout_s=301))

    run(test)


def test_a_handlers_bug_stays_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test(wired: Wired) -> None:
        error = await fails(Failed, wired.call("put", "bug"))
        assert "secret" not in error.message

    with caplog.at_level(logging.ERROR):
        run(test)
    assert "a secret of the handler" in caplog.text


def test_a_call_after_a_suspension_does_not_wait_for_a_timer_of_before() -> None:
    """BOOTTIME has gone on while timers stood still."""

    async def test(wired: Wired) -> None:
        wired.lost = {FrameKind.REQUEST}
        before = asyncio.ensure_future(wired.call("get", "a", timeout_s=2))
        await asyncio.sleep(0)
        wired.started -= 2.5  # seconds of sleep
        began = time.monotonic()
        await fails(DeadlineExceeded, wired.call("get", "a", timeout_s=0.1))
        assert time.monotonic() - began < 1.2
        await fails(DeadlineExceeded, before)

    run(test)


def test_deadline_and_cancellation_stop_the_handler() -> None:
    async def test(wired: Wired) -> None:
        await fails(DeadlineExceeded, wired.call("put", "wait", timeout_s=0.05))
        assert wired.sent
        task = asyncio.ensure_future(wired.call("put", "wait"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while wired.host.responder.running:
            await asyncio.sleep(0)

    run(test)


def test_an_idempotency_key_runs_once_however_often_the_answer_is_lost() -> None:
    async def test(wired: Wired) -> None:
        wired.lost = {FrameKind.REPLY}
        task = asyncio.ensure_future(wired.call("put", "x", idempotency_key="one"))
        for _ in range(5):
            await asyncio.sleep(0)
        wired.caller.pending.fail_all()
        wired.lost = set()
        assert await task == 1
        assert wired.store.calls == 1
        assert await wired.call("put", "x", idempotency_key="one") == 1
        assert await wired.call("put", "x", idempotency_key="two") == 2

    run(test)


def test_without_a_key_a_lost_answer_is_an_unknown_outcome_and_is_not_repeated() -> None:
    async def test(wired: Wired) -> None:
        wired.lost = {FrameKind.REPLY}
        task = asyncio.ensure_future(wired.call("put", "x"))
        for _ in range(5):
            await asyncio.sleep(0)
        wired.caller.pending.fail_all()
        await fails(OutcomeUnknown, task)
        assert wired.store.calls == 1

    run(test)


def test_a_frame_that_was_never_written_is_sent_again() -> None:
    async def test(wired: Wired) -> None:
        wired.lost = {FrameKind.REQUEST}
        task = asyncio.ensure_future(wired.call("put", "x"))
        await asyncio.sleep(0)
        wired.lost = set()
        wired.caller.pending.fail_all(unsent=wired.sent[-1:])
        assert await task == 1
        assert wired.world.header(wired.sent[0]).seq != wired.world.header(wired.sent[1]).seq

    run(test)


def test_a_lying_gate_cannot_make_a_call_run_twice() -> None:
    """A captured Primary forwards the request and also says that it did not."""

    async def test(wired: Wired) -> None:
        wired.lost = {FrameKind.REPLY}
        task = asyncio.ensure_future(wired.call("put", "x"))
        for _ in range(5):
            await asyncio.sleep(0)
        for word in ("unavailable",):
            wired.caller.pending.on_frame_untrusted(_refusal(wired, wired.sent[0], word))
        await fails(Unavailable, task)
        assert wired.store.calls == 1

    run(test)


def _refusal(wired: Wired, frame: bytes, word: str) -> bytes:
    from tlsrt.channels.frames.frame import pack_frame
    from tlsrt.loops.gate.gate import _refusal as refusal

    made = parse_frame_untrusted(refusal(wired.world.header(frame), "replay"))
    return pack_frame(made.header, b"", word.encode(), b"")


def test_a_refusal_of_the_gate_is_one_generic_word() -> None:
    async def test(wired: Wired) -> None:
        wired.world.verifier.revoke(1, "session", wired.world.session(CONSOLE), wired.world.now)
        error = await fails(Rejected, wired.call("get", "x"))
        assert "revoked" not in error.message

    run(test)


def test_while_the_channel_is_down_calls_wait_unsealed_and_bounded() -> None:
    async def test(wired: Wired) -> None:
        wired.caller.set_up(False)
        waiting = [asyncio.ensure_future(wired.call("get", str(number))) for number in range(2)]
        await asyncio.sleep(0)
        await fails(Busy, wired.call("get", "too many"))
        assert not wired.sent
        wired.caller.set_up(True)
        assert [answer[0] for answer in await asyncio.gather(*waiting)] == ["0", "1"]
        wired.caller.set_up(False)
        await fails(Unavailable, wired.call("get", "x", timeout_s=0.02))

    run(test)


def test_a_restarted_recipient_ends_the_calls_to_it() -> None:
    async def test(wired: Wired) -> None:
        task = asyncio.ensure_future(wired.call("put", "wait"))
        await asyncio.sleep(0)
        wired.caller.endpoint.apply_right(7, STORE, 9, bytes(32), ("*",))
        await fails(OutcomeUnknown, task)
        for request in list(wired.host.responder._in_flight.by_name.values()):
            wired.host.responder._in_flight.stop(request)

    run(test)


def test_a_stream_longer_than_any_window() -> None:
    async def test(wired: Wired) -> None:
        items = [item async for item in wired.caller.stream(STORE, "many", (500,))]
        assert items == list(range(500))
        assert wired.store.closed == 1

    run(test)


def test_a_slow_consumer_holds_the_producer_back() -> None:
    async def test(wired: Wired) -> None:
        stream = wired.caller.stream(STORE, "many", (100_000,))
        assert await anext(stream) == 0
        for _ in range(500):
            await asyncio.sleep(0)
        assert wired.store.produced <= 34
        await stream.aclose()  # type: ignore[attr-defined]
        while wired.host.responder.running:
            await asyncio.sleep(0)
        assert wired.store.closed == 1

    run(test)


def test_a_gap_in_a_stream_is_an_error_and_never_a_short_success() -> None:
    async def test(wired: Wired) -> None:
        original, count = wired.to_console, 0

        def drop_the_third(frame: bytes) -> None:
            nonlocal count
            count += 1
            if count != 3:
                original(frame)

        wired.host.responder._replies._send = drop_the_third
        with pytest.raises(StreamBroken):
            [item async for item in wired.caller.stream(STORE, "many", (5,))]

    run(test)


def test_a_lost_end_is_an_error() -> None:
    async def test(wired: Wired) -> None:
        stream = wired.caller.stream(STORE, "many", (1,))
        assert await anext(stream) == 0
        wired.caller.pending.fail_all()
        with pytest.raises(StopAsyncIteration):  # the end had come already
            await anext(stream)
        with pytest.raises(NotFound):
            [item async for item in wired.caller.stream(STORE, "manyy", (1,))]
        with pytest.raises(InvalidArgument):
            [item async for item in wired.caller.stream(STORE, "get", ("x",))]

    run(test)


def test_an_upload_with_credit_and_its_limits() -> None:
    async def parts(count: int, size: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * size

    async def test(wired: Wired) -> None:
        assert await wired.caller.upload(STORE, "take", parts(200, 1000), ("file",)) == 200_000
        with pytest.raises(InvalidArgument):
            await wired.caller.upload(STORE, "take", parts(1, 200_000), ("file",))
        with pytest.raises(InvalidArgument):
            await wired.caller.upload(STORE, "get", parts(1, 1), ("x",))
        while wired.host.responder.running:
            await asyncio.sleep(0)

    run(test)


def test_stopping_ends_streams_with_an_error_and_lets_calls_finish() -> None:
    async def test(wired: Wired) -> None:
        stream = wired.caller.stream(STORE, "many", (1000,))
        await anext(stream)
        call = asyncio.ensure_future(wired.call("put", "wait"))
        for _ in range(5):
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(wired.host.responder.close(5))
        await asyncio.sleep(0)
        wired.store.never.set()
        await closing
        assert await call == 1
        with pytest.raises(Cancelled):
            [item async for item in stream]
        error = await fails(Unavailable, wired.call("get", "x", timeout_s=0.3))
        assert "stopping" in error.message

    run(test)


def test_answers_of_strangers_are_not_taken() -> None:
    async def test(wired: Wired) -> None:
        task = asyncio.ensure_future(wired.call("put", "wait"))
        await asyncio.sleep(0)
        header = wired.world.header(wired.sent[0])
        name = header.session + header.seq.to_bytes(8, "big")
        lie = wired.world.plain_header("forth/power", CONSOLE, kind=FrameKind.REPLY, correlation=name)
        with pytest.raises(PeerError):
            wired.caller.pending.on_frame_untrusted(wired.world.forge("forth/power", lie, b"\x01"))
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while wired.host.responder.running:
            await asyncio.sleep(0)

    run(test)
