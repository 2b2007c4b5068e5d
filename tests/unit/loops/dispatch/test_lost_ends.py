"""A stream has no deadline, so its reader must hear of an end that was lost, as in a queue that is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls import caller as calls
from tlsrt.channels.frames.frame import FLAG_FINAL, FrameKind
from tlsrt.errors import CallError, OutcomeUnknown, Stale

RENEW_S = 0.02


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "RENEW_STREAM_S", RENEW_S)


def lose(wired: LinkedComponents, is_lost: Callable[[Any], bool]) -> list[FrameKind]:
    """Lose frames behind the gate, as a queue that is full does; return the kinds of those that were lost."""
    lost: list[FrameKind] = []
    deliver = wired.take

    def take(subject: str, frame: Any, header: Any) -> None:
        if is_lost(header):
            lost.append(FrameKind(header.kind))
        else:
            deliver(subject, frame, header)

    wired.take = take  # type: ignore[method-assign]
    return lost


async def read(wired: LinkedComponents, method: str, *args: object) -> tuple[list[Any], CallError | None]:
    caller = wired.hosts[CONSOLE].caller
    found: list[Any] = []
    try:
        async for item in caller.stream(STORE, method, args):
            found.append(item)
    except CallError as error:
        return found, error
    return found, None


def test_the_last_item_that_is_lost_behind_the_gate_ends_the_stream_with_an_error() -> None:
    async def scene(wired: LinkedComponents) -> None:
        lost = lose(wired, lambda header: bool(header.flags & FLAG_FINAL) and header.kind == FrameKind.ITEM)

        async def nothing() -> Any:
            return
            yield b""

        caller = wired.hosts[CONSOLE].caller
        with pytest.raises(Stale):
            async for _ in caller.exchange(STORE, "first", nothing()):
                pass
        assert lost == [FrameKind.ITEM]

    run(scene)


def test_an_error_that_is_lost_behind_the_gate_ends_the_stream_with_another() -> None:
    async def scene(wired: LinkedComponents) -> None:
        lost = lose(wired, lambda header: header.kind == FrameKind.ERROR)
        assert isinstance((await read(wired, "no_such_method"))[1], Stale)
        assert lost == [FrameKind.ERROR]

    run(scene)


def test_a_stream_that_never_began_at_its_recipient_ends_with_an_error() -> None:
    async def scene(wired: LinkedComponents) -> None:
        lost = lose(wired, lambda header: header.kind == FrameKind.REQUEST)
        found, error = await read(wired, "ticks")
        assert found == []
        assert isinstance(error, OutcomeUnknown)
        assert "how it ended was lost" in error.message
        assert lost == [FrameKind.REQUEST]

    run(scene)


def test_an_error_for_which_its_recipient_has_no_room_is_told_later() -> None:
    async def scene(wired: LinkedComponents) -> None:
        reading = asyncio.ensure_future(read(wired, "no_such_method"))
        await asyncio.sleep(0)
        wired.full.add(STORE)
        while not wired.kinds:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        wired.full.clear()
        assert isinstance((await reading)[1], OutcomeUnknown)

    run(scene)


def test_a_stream_that_goes_on_is_renewed_and_hears_nothing_of_it() -> None:
    async def scene(wired: LinkedComponents) -> None:
        stream: Any = wired.hosts[CONSOLE].caller.stream(STORE, "ticks", ())
        found = [await anext(stream)]
        for _ in range(4):
            await asyncio.sleep(RENEW_S)
            found.append(await anext(stream))
        await stream.aclose()
        assert found == [0, 1, 2, 3, 4]
        assert FrameKind.ERROR not in wired.kinds

    run(scene)
