"""A caller that is gone takes its calls, streams and uploads along, and what these call; and nothing runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt import handler
from tlsrt.budget import Budget
from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.session.heard_sessions import HeardSessions
from tlsrt.errors import OutcomeUnknown, Unavailable

Test = Callable[[LinkedComponents], Awaitable[None]]


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def ended(wired: LinkedComponents, *, at: str = STORE) -> Any:
    return wired.hosts[at].responder


def session(wired: LinkedComponents) -> bytes:
    return wired.hosts[CONSOLE].endpoint.session


async def forsake(*calls: asyncio.Future[Any]) -> None:
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def gone(wired: LinkedComponents) -> None:
    """Let the gate forget what is open, as it does when the connection closes."""
    wired.world.gate.sweep(wired.world.now + 400_000)


ENDINGS: dict[str, Callable[[LinkedComponents], Ending]] = {
    "closed": lambda wired: Ending(sessions=(session(wired),)),
    "without a gate": lambda wired: Ending(of_gate=True),
    "shut out": lambda wired: Ending(subjects=(CONSOLE,)),
    "locked": lambda wired: Ending(of_all=True),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_call_ends_with_its_caller(how: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call("wait", "x"))
        await until(lambda: wired.store.calls["x"])
        ended(wired).end_calls(ENDINGS[how](wired))
        await turns()
        assert ended(wired).running == 0
        await forsake(call)
        gone(wired)

    run(test)


@pytest.mark.parametrize(
    "other", [Ending(sessions=(b"o" * 16,)), Ending(subjects=("client/other",)), Ending(of_clients=True)]
)
def test_calls_of_others_go_on(other: Ending) -> None:
    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call("wait", "x"))
        await until(lambda: wired.store.calls["x"])
        ended(wired).end_calls(other)
        await turns()
        wired.store.release.set()
        assert await call == "x"

    run(test)


def test_a_stream_takes_nothing_more_from_a_queue() -> None:
    async def test(wired: LinkedComponents) -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        left: list[int] = []

        class Work(type(wired.store)):  # type: ignore[misc]
            @handler
            async def ticks(self) -> AsyncIterator[int]:
                while True:
                    item = await queue.get()
                    left.append(item)
                    yield item

        wired.store.__class__ = Work
        wired.store.__tlsrt_methods__ = Work.__tlsrt_methods__
        got: list[int] = []

        async def consume() -> None:
            async for item in wired.hosts[CONSOLE].caller.stream(STORE, "ticks"):
                got.append(item)

        worker = asyncio.ensure_future(consume())
        queue.put_nowait(1)
        await until(lambda: got)
        ended(wired).end_calls(ENDINGS["closed"](wired))
        await turns()
        for item in range(2, 9):
            queue.put_nowait(item)
        await turns()
        assert left == [1] and queue.qsize() == 7, "all of them are there for the worker that comes next"
        await forsake(worker)
        gone(wired)

    run(test)


def test_an_upload_ends_and_gives_back_its_room() -> None:
    async def test(wired: LinkedComponents) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1000)
                await asyncio.sleep(0)

        upload = asyncio.ensure_future(wired.hosts[CONSOLE].caller.upload(STORE, "swallow", endless()))
        await until(lambda: ended(wired).running)
        ended(wired).end_calls(ENDINGS["closed"](wired))
        await turns()
        assert ended(wired).running == 0
        assert not ended(wired)._in_flight.quotas._taken
        await forsake(upload)
        gone(wired)

    run(test)


def test_what_a_handler_calls_for_a_caller_that_is_gone_ends_and_its_other_calls_go_on() -> None:
    async def test(wired: LinkedComponents) -> None:
        console: Any = wired.hosts[CONSOLE].component
        console.release = asyncio.Event()

        class Asks(type(wired.store)):  # type: ignore[misc]
            @handler
            async def back(self, key: str) -> str:
                answer: str = await self.call(CONSOLE, "wait", key)
                return answer

        wired.store.__class__ = Asks
        wired.store.__tlsrt_methods__ = Asks.__tlsrt_methods__
        one = asyncio.ensure_future(wired.call("back", "one"))
        await until(lambda: console.calls["one"])
        before = session(wired)
        wired.succeed()
        two = asyncio.ensure_future(wired.call("back", "two"))
        await until(lambda: console.calls["two"])
        ended(wired).end_calls(Ending(sessions=(before,)))
        await turns()
        assert ended(wired, at=CONSOLE).running == 1, "the call for the other one goes on"
        console.release.set()
        assert await two == "two"
        await forsake(one)
        gone(wired)

    run(test)


def test_a_call_with_a_key_goes_on_for_the_session_that_follows_and_runs_once() -> None:
    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call("wait", "x", idempotency_key="k"))
        await until(lambda: wired.store.calls["x"])
        before = session(wired)
        wired.succeed()  # the caller repeats it in its next session
        ended(wired).end_calls(Ending(sessions=(before,)))
        await turns()
        wired.store.release.set()
        assert await call == "x"
        assert wired.store.calls["x"] == 1
        gone(wired)

    run(test)


@pytest.mark.parametrize("how", ["shut out", "locked"])
def test_a_call_with_a_key_that_ends_for_all_is_not_run_again(how: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call("wait", "x", idempotency_key="k"))
        await until(lambda: wired.store.calls["x"])
        ended(wired).end_calls(ENDINGS[how](wired))
        await turns()
        assert ended(wired).running == 0
        await forsake(call)
        gone(wired)
        with pytest.raises(OutcomeUnknown, match="cancelled while it ran"):
            await wired.call("wait", "x", idempotency_key="k")
        assert wired.store.calls["x"] == 1

    run(test)


def test_a_caller_for_whose_session_there_is_no_room_is_told_at_once_and_not_that_nothing_will_run() -> None:
    async def test(wired: LinkedComponents) -> None:
        store = wired.hosts[STORE]
        store.endpoint.heard = HeardSessions(most=0, share=0)
        take = wired.take
        refused: list[tuple[Any, Any]] = []

        def turn_away(subject: str, frame: Any, header: Any) -> None:
            before = len(wired.refused)
            take(subject, frame, header)
            if wired.refused[before:] == [Budget.REMEMBERED]:
                refused.append((frame, header))
                store.responder.answer_unremembered(header)

        wired.take = turn_away  # type: ignore[method-assign]
        for outcome in await wired.calls("get", "a", "b", "c"):
            assert isinstance(outcome, OutcomeUnknown) and "remembers too many sessions" in str(outcome)
        with pytest.raises(OutcomeUnknown):
            await wired.call("wait", "x", idempotency_key="k", timeout_s=0.2)
        assert not wired.store.calls
        store.endpoint.heard = HeardSessions()
        for frame, header in refused:
            take(STORE, frame, header)  # whatever carried them
        await turns()
        assert wired.store.calls["a"] == 1, "so `busy`, which says that nothing was executed, would not be true"
        wired.store.release.set()
        await turns()

    run(test)


@pytest.mark.parametrize("how", ["closed", "shut out", "locked", "recipient shut out"])
def test_who_has_no_session_hears_so_at_once_and_nothing_of_what_waits(how: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        ending = Ending(subjects=(STORE,)) if how == "recipient shut out" else ENDINGS[how](wired)
        call = asyncio.ensure_future(wired.call("wait", "x"))
        items = aiter(wired.hosts[CONSOLE].caller.stream(STORE, "ticks"))
        assert await anext(items) == 0
        await turns(200)  # until the window is full, so that many items wait here
        wired.hosts[CONSOLE].end_calls(ending)
        with pytest.raises(OutcomeUnknown, match="revoked" if how == "recipient shut out" else "session ended"):
            await anext(items)
        with pytest.raises(OutcomeUnknown):
            await call
        wired.hosts[STORE].end_calls(ending)
        await turns()
        assert ended(wired).running == 0
        gone(wired)

    run(test)


def test_a_request_that_is_not_sealed_when_its_session_ends_is_not_sent() -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.turn.begin_turn()
        calls = [asyncio.ensure_future(wired.call("get", key, wait_s=0)) for key in "abc"]
        await asyncio.sleep(0)
        wired.hosts[CONSOLE].end_calls(ENDINGS["closed"](wired))
        wired.turn.end()
        results = await asyncio.gather(*calls, return_exceptions=True)
        unsent = [one for one in results if isinstance(one, Unavailable)]
        assert unsent and len(unsent) + sum(wired.store.calls.values()) == len(calls)
        gone(wired)

    run(test)


@pytest.mark.parametrize("other", [Ending(sessions=(b"o" * 16,)), Ending(subjects=("client/other",))])
def test_own_calls_go_on_when_others_are_gone(other: Ending) -> None:
    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call("wait", "x"))
        await until(lambda: wired.store.calls["x"])
        for host in wired.hosts.values():
            host.end_calls(other)
        wired.store.release.set()
        assert await call == "x"

    run(test)


def test_a_component_that_is_shut_out_works_for_no_one() -> None:
    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call("wait", "x"))
        await until(lambda: wired.store.calls["x"])
        wired.hosts[STORE].end_calls(Ending(subjects=(STORE,)))
        await turns()
        assert ended(wired).running == 0
        await forsake(call)
        gone(wired)

    run(test)
