"""What one component may have under way, at itself and at another, in number and bytes; the rest is `busy` at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls import caller as calls
from tlsrt.errors import Busy
from tlsrt.loops.dispatch import in_flight


async def _parts(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)


def test_requests_of_one_asker_fill_half_of_a_recipient_and_their_room_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_flight, "RUNNING_MAX", 8)

    async def test(wired: LinkedComponents) -> None:
        for _ in range(2):
            calls = asyncio.ensure_future(wired.calls("wait", *"abcdef"))
            while wired.hosts[STORE].responder.running < 4:
                await asyncio.sleep(0)
            room = wired.hosts[STORE].responder._in_flight.quotas
            assert room.take("third/other", 1, 1), "somebody else still finds some"
            room.give_back("third/other", 1, 1)
            wired.store.release.set()
            results = await calls
            assert [type(result) for result in results] == [str] * 4 + [Busy] * 2
            assert sum(wired.store.calls.values()) == 4, "what was busy did not run"
            wired.store.release.clear()
            wired.store.calls.clear()
            assert not room._taken

    run(test)


def test_an_upload_that_nobody_reads_is_ended_when_it_has_filled_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "RUNNING_BYTES", 400_000)

    async def test(wired: LinkedComponents) -> None:
        caller = wired.hosts[CONSOLE].caller
        upload = asyncio.ensure_future(caller.upload(STORE, "swallow", _parts(30, 10_000)))
        while len(wired.kinds) < 25:
            await asyncio.sleep(0)
        wired.store.release.set()
        with pytest.raises(Busy, match="no room for more data"):
            await upload
        assert not wired.hosts[STORE].responder._in_flight.quotas._taken
        wired.store.release.set()
        assert await caller.upload(STORE, "swallow", _parts(1000, 1000)) == 1_000_000, "one that is read has no bound"
        assert not wired.hosts[STORE].responder._in_flight.quotas._taken

    run(test)


def test_open_calls_of_one_caller_are_bounded_before_anything_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CALLS_MAX", 3)

    async def test(wired: LinkedComponents) -> None:
        waiting = asyncio.ensure_future(wired.calls("wait", *"abc"))
        while wired.hosts[STORE].responder.running < 3:
            await asyncio.sleep(0)
        sealed = wired.hosts[CONSOLE].endpoint._seq
        caller = wired.hosts[CONSOLE].caller
        with pytest.raises(Busy):
            await caller.call(STORE, "get", ["a"])
        with pytest.raises(Busy):
            await anext(caller.stream(STORE, "ticks"))
        with pytest.raises(Busy):
            await caller.upload(STORE, "swallow", _parts(1, 1))
        assert wired.hosts[CONSOLE].endpoint._seq == sealed
        wired.store.release.set()
        assert await waiting == ["a", "b", "c"]

    run(test)
