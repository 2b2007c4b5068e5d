"""One session follows another while calls are under way: no number is used twice under one key, no call is mixed up."""

from __future__ import annotations

import asyncio

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted, parse_header_untrusted
from tlsrt.errors import OutcomeUnknown, Unavailable


def test_no_number_is_used_twice_under_the_keys_of_a_new_session() -> None:
    """Requests that wait for the end of the turn go out with the keys of the session that numbered them."""

    async def test(wired: LinkedComponents) -> None:
        used: list[tuple[bytes, int]] = []

        def note(frame: bytes) -> bytes:
            header = parse_header_untrusted(parse_frame_untrusted(frame).header)
            if header.src == CONSOLE:
                used.extend((header.session, header.seq - at) for at in range(max(1, header.part)))
            return frame

        wired.change = note
        endpoint = wired.hosts[CONSOLE].endpoint
        before = endpoint.session
        calls = [asyncio.ensure_future(wired.call("get", key)) for key in "abcde"]
        await asyncio.sleep(0)
        after = wired.succeed()
        assert before != after
        calls += [asyncio.ensure_future(wired.call("get", key)) for key in "fghij"]
        for _ in range(20):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        wired.world.gate.sweep(wired.world.now + 60_000)
        assert len(set(used)) == len(used)
        assert {1, 2, 3, 4, 5} <= {seq for session, seq in used if session == before}
        assert {session for session, _ in used} == {before, after}

    run(test)


def test_numbers_of_another_session_are_not_sealed() -> None:
    async def test(wired: LinkedComponents) -> None:
        endpoint = wired.hosts[CONSOLE].endpoint
        with pytest.raises(Unavailable, match="has just ended"):
            endpoint.seal_requests(range(1, 3), STORE, "get", [b"", b""], 1, endpoint.epoch, bytes(16))

    run(test)


def test_calls_of_the_session_before_end_and_leave_those_with_the_same_number_alone() -> None:
    async def test(wired: LinkedComponents) -> None:
        caller = wired.hosts[CONSOLE].caller
        old = asyncio.ensure_future(wired.call("wait", "old"))
        while not wired.store.calls["old"]:
            await asyncio.sleep(0)
        wired.succeed()
        new = asyncio.ensure_future(wired.call("wait", "new"))
        while not wired.store.calls["new"]:
            await asyncio.sleep(0)
        with pytest.raises(OutcomeUnknown, match="the session ended"):
            await old
        assert list(caller.pending.by_number) == [1]
        wired.store.release.set()
        assert await new == "new"
        assert wired.store.calls == {"old": 1, "new": 1}
        wired.world.gate.sweep(wired.world.now + 60_000)

    run(test)


def test_a_stream_of_the_session_before_ends_with_an_error_and_cancels_nobody() -> None:
    async def test(wired: LinkedComponents) -> None:
        got: list[int] = []

        async def consume() -> None:
            async for number in wired.hosts[CONSOLE].caller.stream(STORE, "ticks"):
                got.append(number)

        old = asyncio.ensure_future(consume())
        while len(got) < 3:
            await asyncio.sleep(0)
        wired.succeed()
        new = asyncio.ensure_future(wired.call("wait", "new"))
        with pytest.raises(OutcomeUnknown, match="the session ended"):
            await old
        wired.store.release.set()
        assert await new == "new"
        assert FrameKind.CANCEL not in wired.kinds
        wired.hosts[STORE].responder.end_calls(Ending(of_gate=True))
        wired.world.gate.sweep(wired.world.now + 300_000)

    run(test)


def test_an_idempotent_call_of_the_session_before_is_repeated_and_runs_once() -> None:
    async def test(wired: LinkedComponents) -> None:
        old = asyncio.ensure_future(wired.call("wait", "old", idempotency_key="k"))
        while not wired.store.calls["old"]:
            await asyncio.sleep(0)
        wired.succeed()
        wired.store.release.set()
        assert await old == "old"
        assert wired.store.calls["old"] == 1
        wired.world.gate.sweep(wired.world.now + 60_000)

    run(test)
