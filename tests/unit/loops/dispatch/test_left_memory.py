"""What a call leaves that ended while its answer waited for room: nothing, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import sys

from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls.ending import Ending

ANSWER = 60_000
CALLS = 20


def held(size: int) -> int:
    """Return how many bytes objects of at least this size are referred to by frames and containers."""
    found = {
        id(one)
        for holder in gc.get_objects()
        for one in gc.get_referents(holder)
        if isinstance(one, bytes) and len(one) >= size
    }
    return len(found)


def test_answers_of_callers_that_are_gone_are_free_at_once() -> None:
    errors: list[BaseException | None] = []

    async def scene(wired: LinkedComponents) -> None:
        channel = wired.hosts[STORE].responder._replies._channel

        async def wait_for_room() -> None:
            errors.append(sys.exception())
            await asyncio.Event().wait()

        channel.wait_for_room = wait_for_room  # type: ignore[method-assign]
        before = held(ANSWER)
        calls = [asyncio.ensure_future(wired.call("get", "x" * ANSWER)) for _ in range(CALLS)]
        await asyncio.sleep(0)
        wired.full.add(STORE)
        while len(errors) < CALLS:
            await asyncio.sleep(0)
        session = wired.hosts[CONSOLE].endpoint.session
        wired.hosts[STORE].responder.end_calls(Ending(sessions=(session,)))
        while wired.hosts[STORE].responder.running:
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        del calls, call
        wired.full.clear()
        await asyncio.sleep(0)
        assert held(ANSWER) - before < 3

    gc.collect()
    gc.disable()
    try:
        run(scene)
    finally:
        gc.enable()
    assert errors == [None] * CALLS, "what waits holds no error, whose frames would hold a second copy"
