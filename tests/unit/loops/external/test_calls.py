"""external/calls without a host and without the extra: components that ring components, options, rights, the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tlsrt import Busy, Component, ConfigError, InvalidArgument, NotFound, Unavailable, handler
from tlsrt.loops.external import calls
from tlsrt.loops.external.call_leg import ANSWER, text
from tlsrt.loops.external.call_rates import RINGS_PER_MINUTE
from tlsrt.loops.external.calls import Calls
from tlsrt.testing import running

OPTIONS: dict[str, Any] = {
    "numbers": {
        "parrot": {"rings": ["third/parrot"]},
        "shy": {"rings": ["third/parrot"], "by": ["client/anna"]},
        "declined": {"rings": ["third/parrot"]},
        "engaged": {"rings": ["third/parrot"]},
        "broken": {"rings": ["third/parrot"]},
        "ben": {"rings": ["client/ben"]},
        "group": {"rings": ["client/ben", "third/parrot"]},
        "itself": {"rings": ["client/test"]},
        "kept": {"rings": ["client/ben"], "then": "third/parrot"},
        "stuck": {"rings": ["third/parrot/stuck"], "for_s": 5, "then": "third/parrot/kept"},
        "lost": {"rings": ["client/ben", "third/parrot/engaged"], "then": "third/parrot/declined"},
    }
}
NEEDS = {"state_mb": 16}


class Parrot(Component):
    """Says what it hears."""

    @handler
    async def take_call(
        self, id: str, by: str, says: str, number: str, heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Answer, or not, by the name of the number."""
        if number == "engaged":
            raise Busy("another call")
        if number == "declined":
            return
        if number == "stuck":
            await asyncio.sleep(3600)
        yield ANSWER
        if number == "broken":
            yield b"\1odd"
        yield text(f"{by} {says} {number}")
        async for piece in heard:
            yield piece


async def said_after(is_answered: asyncio.Event) -> AsyncIterator[bytes]:
    await is_answered.wait()
    yield text("x")
    await asyncio.sleep(3600)


async def said() -> AsyncIterator[bytes]:
    await asyncio.sleep(3600)
    yield b""


def running_calls(**more: Any) -> Any:
    return running(
        Calls, options=OPTIONS, needs=NEEDS, address="external/calls", peers={"third/parrot": Parrot()}, **more
    )


def test_a_component_rings_a_component_and_the_log_has_it() -> None:
    async def run() -> None:
        async with running_calls() as it:
            for number in ("parrot", "group"):
                is_answered = asyncio.Event()
                heard = []
                async with aclosing(it.exchange("dial", said_after(is_answered), number, "me")) as pieces:
                    async for piece in pieces:
                        heard.append(piece)
                        is_answered.set()
                        if len(heard) == 3:
                            break
                while (await it.call("calls"))[0]["outcome"] is None:
                    await asyncio.sleep(0)
                words = f"client/test me {number}"
                assert heard[0] == ANSWER and {*heard[1:]} == {text(words), text("x")}
            rows = await it.call("calls")
            assert [(one["number"], one["taken_by"], one["outcome"]) for one in rows] == [
                ("group", "third/parrot", "answered"), ("parrot", "third/parrot", "answered"),
            ]  # fmt: skip
            assert await it.call("calls", rows[0]["position"], False) == rows[1:]
            assert await it.call("calls", 0, True) == []

    asyncio.run(run())


@pytest.mark.parametrize(("number", "outcome"), [("kept", "away"), ("stuck", "not answered")])
def test_what_no_one_takes_is_taken_by_another_component_and_is_missed(
    number: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with running_calls() as it:
            waits = asyncio.sleep
            monkeypatch.setattr(asyncio, "sleep", lambda seconds: waits(0.01 if seconds == 5 else seconds))
            async with aclosing(it.exchange("dial", said(), number, "me")) as pieces:
                assert [await anext(pieces), await anext(pieces)] == [ANSWER, text("client/test me kept")]
            while (await it.call("calls"))[0]["outcome"] is None:
                await waits(0)
            [row] = await it.call("calls")
            assert (row["taken_by"], row["outcome"]) == ("third/parrot", outcome)

    asyncio.run(run())


async def _dial(it: Any, number: str) -> list[bytes]:
    return [piece async for piece in it.exchange("dial", said(), number, "")]


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        ("declined", Unavailable, "declined: declined"), ("engaged", Busy, "engaged is engaged"),
        ("ben", Unavailable, "ben: away"), ("itself", Unavailable, "itself: away"),
        ("lost", Busy, "lost is engaged"),
        ("shy", NotFound, "no number 'shy' for client/test"), ("nothing", NotFound, "no number"),
    ],
)  # fmt: skip
def test_who_is_not_reached_is_told(number: str, error: type[Exception], words: str) -> None:
    async def run() -> None:
        async with running_calls() as it:
            with pytest.raises(error, match=words):
                await _dial(it, number)

    asyncio.run(run())


def test_what_is_no_piece_ends_the_call() -> None:
    async def run() -> None:
        async with running_calls() as it:
            assert await _dial(it, "broken") == [ANSWER]
            with pytest.raises(NotFound, match="has no call"):
                await it.call("hang_up", "0" * 16)

    asyncio.run(run())


def test_a_flood_of_rings_is_busy_and_another_one_is_served() -> None:
    async def run() -> None:
        async with running_calls() as it:
            for _ in range(RINGS_PER_MINUTE):
                with pytest.raises(Unavailable):
                    await _dial(it, "ben")
            with pytest.raises(Busy, match="12 times within a minute"):
                await _dial(it, "ben")

    asyncio.run(run())


def test_without_the_extra_or_a_port_a_person_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(words: str) -> None:
        async with running_calls() as it:
            with pytest.raises(Unavailable, match=words):
                await anext(aiter(it.stream("ring", "parrot", "v=0")))

    monkeypatch.setattr(calls, "_HAS_EXTRA", False)
    asyncio.run(run("tlsrt.calling"))
    monkeypatch.setattr(calls, "_HAS_EXTRA", True)
    asyncio.run(run("put `listen"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"numbers": {"A": {"rings": ["client/ben"]}}}, "'A' is no name"),
        ({"numbers": {"a": {"rings": ["ben"]}}}, "none of: client/NAME"),
        ({"numbers": {"a": {"rings": []}}}, "rings"),
        ({"numbers": {"a": {"rings": ["client/ben"], "by": ["any"]}}}, "none of"),
        ({"numbers": {"a": {"rings": ["client/ben"], "for_s": 1}}}, "for_s"),
        ({"numbers": {"a": {"rings": ["client/ben"], "then": "client/anna"}}}, "'client/anna' is no component"),
        ({"numbers": {"a": {"rings": ["client/ben"], "then": "door@attic"}}}, "is no component"),
        ({"numbers": {"a": {"rings": ["third/door"], "then": "third/door"}}}, "among `rings` already"),
        ({"addresses": ["host.example"]}, "host.example"),
    ],
)
def test_a_wrong_option_is_told(options: dict[str, Any], words: str) -> None:
    async def run() -> None:
        async with running(Calls, options=options, needs=NEEDS):
            pass

    with pytest.raises((ConfigError, InvalidArgument), match=words):
        asyncio.run(run())
