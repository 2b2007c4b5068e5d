"""A call that sends a stream and reads one at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls.flow_control import WINDOW
from tlsrt.errors import InvalidArgument


async def parts(*sizes: int) -> AsyncIterator[bytes]:
    for number, size in enumerate(sizes):
        yield bytes([number % 256]) * size


def exchange(
    wired: LinkedComponents, method: str, data: AsyncIterator[bytes] | bytes, *args: object
) -> AsyncIterator[bytes]:
    return wired.hosts[CONSOLE].component.exchange(STORE, method, data, *args)


def test_items_come_back_while_parts_are_sent() -> None:
    async def test(wired: LinkedComponents) -> None:
        wanted: asyncio.Queue[bytes] = asyncio.Queue()

        async def spoken() -> AsyncIterator[bytes]:
            while part := await wanted.get():
                yield part

        await wanted.put(b"one")
        heard = []
        async for item in exchange(wired, "echo", spoken(), 1):
            heard.append(item)
            await wanted.put(b"" if len(heard) == 100 else b"more %d" % len(heard))
        assert heard == [b"one", *(b"more %d" % number for number in range(1, 100))]

    run(test)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_flow_control_holds_in_both_directions(times: int) -> None:
    async def test(wired: LinkedComponents) -> None:
        sizes = [100] * 5 * WINDOW
        items = [item async for item in exchange(wired, "echo", parts(*sizes), times)]
        assert len(items) == times * len(sizes)

    run(test)


def test_the_recipient_may_end_first_and_the_source_is_not_read_on() -> None:
    async def test(wired: LinkedComponents) -> None:
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 1
                yield b"x"
                await asyncio.sleep(0)

        assert [item async for item in exchange(wired, "first", endless())] == [b"x"]
        before = read
        await asyncio.sleep(0.01)
        assert read == before

    run(test)


def test_an_error_of_the_source_is_raised_here_and_ends_the_call_there() -> None:
    async def test(wired: LinkedComponents) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"x"
            raise OSError("the microphone was unplugged")

        with pytest.raises(OSError, match="unplugged"):
            async for _ in exchange(wired, "echo", broken(), 1):
                pass
        while wired.hosts[STORE].responder._in_flight.by_name:
            await asyncio.sleep(0)

    run(test)


def test_who_stops_reading_ends_the_call_there() -> None:
    async def test(wired: LinkedComponents) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0)

        async with aclosing(exchange(wired, "echo", endless(), 1)) as items:  # type: ignore[type-var]
            async for _ in items:
                break
        while wired.hosts[STORE].responder._in_flight.by_name:
            await asyncio.sleep(0)

    run(test)


def test_a_component_uploads_to_another_one() -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.store.release.set()
        console = wired.hosts[CONSOLE].component
        assert await console.upload(STORE, "swallow", bytes(200_000)) == 200_000
        assert await console.upload(STORE, "swallow", parts(*[7] * 100)) == 700

    run(test)


def test_a_method_that_does_both_says_so_when_it_is_called_otherwise() -> None:
    async def test(wired: LinkedComponents) -> None:
        console = wired.hosts[CONSOLE].component
        with pytest.raises(InvalidArgument, match="is a stream of items"):
            await console.upload(STORE, "echo", b"", 1)
        with pytest.raises(InvalidArgument, match="missing parameter: data"):
            async for _ in console.stream(STORE, "echo", 1):
                pass

    run(test)
