"""Requests and their traces: what a handler sees, what its own calls take along, and what is refused."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents
from fakes.memory_host import MemoryHost

from tlsrt import Component, handler
from tlsrt.channels.client.tracing import traced
from tlsrt.channels.control.spans import Span, SpanKind, decode_span_untrusted
from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.frames.trace import CURRENT, Trace, current_trace
from tlsrt.errors import NotFound, PeerError
from tlsrt.loops.dispatch.tracer import Tracer

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

    @handler
    async def asks(self) -> str:
        async def parts() -> AsyncIterator[bytes]:
            yield b"part"

        await asyncio.gather(self.call(CONSOLE, "get", "key"), self.call(CONSOLE, "get", "key"))
        assert [item async for item in self.exchange(CONSOLE, "echo", parts(), 2)] == [b"part"] * 2
        return self.trace.traceparent if self.trace else ""

    @handler
    async def fails(self) -> str:
        result: str = await self.call(CONSOLE, "get", "no")
        return result


def run(
    test: Callable[[LinkedComponents], Awaitable[None]], tracers: Mapping[str, Tracer] = MappingProxyType({})
) -> None:  # fmt: skip
    async def main() -> None:
        async with asyncio.timeout(10):
            await test(LinkedComponents(Traced, tracers))

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


class Heard:
    """Tracers of both components, and what they say."""

    def __init__(self, ratio: float = 0.0) -> None:
        self.tracers: dict[str, Tracer] = {}
        self._readers: dict[str, socket.socket] = {}
        for subject in (STORE, CONSOLE):
            self._readers[subject], theirs = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
            )
            self.tracers[subject] = Tracer(random.Random(1).random)
            self.tracers[subject].begin_saying(theirs.detach(), ratio, 0.0)

    def spans(self, subject: str) -> list[Span]:
        found = []
        while True:
            try:
                found.append(decode_span_untrusted(self._readers[subject].recv(4096)))
            except BlockingIOError:
                return found

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        for tracer in self.tracers.values():
            tracer.end_saying()


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    yield made
    made.close()


def test_calls_of_a_handler_are_spans_between_the_two_handlers(heard: Heard) -> None:
    async def test(linked: LinkedComponents) -> None:
        caller = linked.hosts[CONSOLE].caller
        with traced(PARENT) as trace:
            seen = await caller.call(STORE, "asks")
        with pytest.raises(NotFound), traced(PARENT):
            await caller.call(STORE, "fails")
        await caller.call(STORE, "asks")  # in no trace
        await asyncio.sleep(0)
        *calls, server, failing, failed = heard.spans(STORE)
        assert server.kind is SpanKind.SERVER and server.parent_id == trace.span_id
        assert server.span_id.hex() == seen.split("-")[2]  # also after the calls of the handler
        assert [(one.kind, one.name) for one in calls] == [
            (SpanKind.CLIENT, f"{CONSOLE}/{method}") for method in ("get", "get", "echo")
        ]
        assert {(one.parent_id, one.component, one.peer) for one in calls} == {(server.span_id, STORE, CONSOLE)}
        there = heard.spans(CONSOLE)
        assert {one.parent_id for one in there[:3]} == {one.span_id for one in calls}
        assert {one.trace_id for one in (*calls, *there, server)} == {trace.trace_id}
        assert (failing.kind, failing.error, failed.error) == (SpanKind.CLIENT, "not_found", "not_found")
        assert len(there) == 4 and there[3].error == "not_found"

    run(test, heard.tracers)


def test_a_repetition_of_a_call_that_failed_has_its_error_too(heard: Heard) -> None:
    async def test(linked: LinkedComponents) -> None:
        for _ in range(2):
            with pytest.raises(NotFound), traced(PARENT):
                await linked.hosts[CONSOLE].caller.call(STORE, "fails", idempotency_key="k")
        await asyncio.sleep(0)
        served = [one.error for one in heard.spans(STORE) if one.kind is SpanKind.SERVER]
        assert served == ["not_found", "not_found"]

    run(test, heard.tracers)


@pytest.mark.parametrize("method", ["at_once", "late"])
def test_requests_that_come_together_begin_traces_as_others_do(method: str) -> None:
    heard = Heard(0.5)

    async def test(linked: LinkedComponents) -> None:
        caller = linked.hosts[CONSOLE].caller
        seen = []
        for _ in range(10):
            seen += await asyncio.gather(*(caller.call(STORE, method) for _ in range(10)))
        await asyncio.sleep(0)
        spans = heard.spans(STORE)
        assert FrameKind.REQUESTS in linked.kinds and 30 < len(spans) < 70
        assert sorted(one for one in seen if one) == sorted(
            f"00-{one.trace_id.hex()}-{one.span_id.hex()}-01" for one in spans
        )
        assert {(one.parent_id, one.kind) for one in spans} == {(bytes(8), SpanKind.SERVER)}

    run(test, heard.tracers)
    heard.close()


def test_a_stream_that_its_reader_leaves_ends_its_span_once(heard: Heard) -> None:
    async def test(linked: LinkedComponents) -> None:
        with traced(PARENT):
            items = linked.hosts[STORE].stream(CONSOLE, "ticks", (), {}, timeout_s=5)
            async for item in items:
                if item == 3:
                    break
            await items.aclose()  # type: ignore[attr-defined]
            assert CURRENT.get() != b"" and current_trace() is not None
        [span] = heard.spans(STORE)
        assert (span.kind, span.name, span.error) == (SpanKind.CLIENT, f"{CONSOLE}/ticks", "")
        while not (there := heard.spans(CONSOLE)):
            await asyncio.sleep(0)
        assert (there[0].parent_id, there[0].error) == (span.span_id, "cancelled")

    run(test, heard.tracers)
