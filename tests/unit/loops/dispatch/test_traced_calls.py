"""Requests and their traces: what a handler sees, what its own calls take along, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents
from fakes.memory_host import MemoryHost

from tlsrt import Component, handler
from tlsrt.channels.client.tracing import traced
from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.frames.trace import CURRENT, Trace, current_trace
from tlsrt.errors import PeerError

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
IDS = b"t" * 16 + b"s" * 8


class Traced(Component):
    """Says which trace it runs in."""

    def __init__(self) -> None:
        self.seen: list[Trace | None] = []

    @handler
    async def at_once(self) -> str:
        return self.trace.traceparent if self.trace else ""

    @handler
    async def late(self) -> str:
        await asyncio.sleep(0)
        return self.trace.traceparent + self.trace.state if self.trace else ""

    @handler
    async def items(self) -> AsyncIterator[str]:
        for _ in range(2):
            yield self.trace.traceparent if self.trace else ""
            await asyncio.sleep(0)

    @handler
    async def length(self, data: AsyncIterator[bytes]) -> str:
        async for _ in data:
            pass
        return self.trace.traceparent if self.trace else ""

    @handler
    async def back(self) -> str:
        await asyncio.sleep(0)
        await self.call(CONSOLE, "get", "key")
        return ""


def run(test: Callable[[LinkedComponents], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await test(LinkedComponents(Traced))

    asyncio.run(main())


def test_every_kind_of_call_has_the_trace_of_its_block() -> None:
    async def test(linked: LinkedComponents) -> None:
        caller = linked.hosts[CONSOLE].caller

        async def parts() -> AsyncIterator[bytes]:
            yield b"part"

        with traced(PARENT, "a=1"):
            assert await caller.call(STORE, "at_once") == PARENT
            both = await asyncio.gather(*(caller.call(STORE, "late") for _ in range(3)))
            assert both == [f"{PARENT}a=1"] * 3
            assert [item async for item in caller.stream(STORE, "items")] == [PARENT] * 2
            assert await caller.upload(STORE, "length", parts()) == PARENT
        assert await asyncio.gather(*(caller.call(STORE, "late") for _ in range(3))) == [""] * 3
        assert [item async for item in caller.stream(STORE, "items")] == [""] * 2

    run(test)


def test_what_a_handler_calls_belongs_to_it() -> None:
    async def test(linked: LinkedComponents) -> None:
        found: list[bytes] = []

        def look(frame: bytes) -> bytes:
            header = parse_header_untrusted(parse_frame_untrusted(frame).header)
            if header.kind == FrameKind.REQUEST and header.src == STORE:
                found.append(header.correlation)
            return frame

        linked.change = look
        with traced(PARENT) as trace:
            await linked.hosts[CONSOLE].caller.call(STORE, "back")
        await linked.hosts[CONSOLE].caller.call(STORE, "back")
        assert found == [trace.encode(), b""]

    run(test)


def test_a_request_without_one_has_none_whatever_runs() -> None:
    async def test(linked: LinkedComponents) -> None:
        caller = linked.hosts[CONSOLE].caller
        frames: list[bytes] = []
        deliver = linked.deliver
        linked.deliver = lambda subject, data: frames.append(data)  # type: ignore[method-assign]
        late = asyncio.ensure_future(caller.call(STORE, "late"))
        many = [asyncio.ensure_future(caller.call(STORE, "at_once")) for _ in range(2)]
        while len(frames) < 2:
            await asyncio.sleep(0)
        linked.deliver = deliver  # type: ignore[method-assign]
        with traced(PARENT):  # as if a traced handler had opened the channel that they come by
            for frame in frames:
                deliver(STORE, frame)
            assert current_trace() is not None
        assert await late == "" and await asyncio.gather(*many) == ["", ""]

    run(test)


@pytest.mark.parametrize(
    "trace",
    [bytes(24) + b"\x01", b"t" * 16 + bytes(8) + b"\x00", IDS + b"\x02", IDS + b"\x01a=\n", IDS + b"\x01a", bytes(24)],
)
def test_what_is_no_trace_is_refused_by_gate_and_recipient(trace: bytes) -> None:
    world = MemoryHost()
    frame = world.request(correlation=trace)
    verdict = world.gate.check_untrusted(frame, world.origin(CONSOLE), world.now)
    assert not verdict.passed and verdict.reason == "correlated_request"

    async def test(linked: LinkedComponents) -> None:
        header = linked.world.plain_header(correlation=trace)
        opened = linked.hosts[STORE].responder.on_opened_untrusted
        for kind in (FrameKind.REQUEST, FrameKind.REQUESTS):
            with pytest.raises(PeerError, match="correlated_request"):
                opened((header._replace(kind=kind), b"", None))  # type: ignore[arg-type]

    run(test)


def test_a_traced_frame_takes_the_long_way_and_leaves_the_fast_one_as_it_was() -> None:
    world = MemoryHost()
    check = partial(world.gate.check_untrusted, origin=world.origin(CONSOLE), now=world.now)
    flows = []
    for number in range(8):
        trace = IDS + b"\x01" if number % 2 == 0 else b""
        assert check(world.request(correlation=trace)).passed
        flows.append(world.gate._fast._patterns.flows)
    assert flows == [0] + [1] * 7
    assert CURRENT.get() == b""
