"""Which calls are sampled, by whose word, and what a span says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tlsrt.channels.control.export import SPAN_BYTES
from tlsrt.channels.control.spans import Span, decode_span_untrusted
from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.channels.frames.trace import Trace, current_trace
from tlsrt.loops.dispatch.in_flight import RunningCall
from tlsrt.loops.dispatch.traced_calls import TracedCalls
from tlsrt.loops.dispatch.tracer import Tracer

ASKED = Trace(b"t" * 16, b"p" * 8, 1, "a=b")


def call(trace: Trace | None, src: str = "client/x") -> RunningCall:
    correlation = trace.encode() if trace is not None else b""
    return RunningCall(
        b"n" * 24, Header(1, FrameKind.REQUEST, b"s" * 16, 1, 0, src, "third/io", 1, 1, "read", 1, 1, correlation, 0)
    )


class Stage:
    """A tracer, its time, and the other end of its socket."""

    def __init__(self, ratio: float, most_per_s: float) -> None:
        self.now, self.chance, self.count = 1.0, 0.5, 0
        self.reader, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reader.setblocking(False)
        theirs.setblocking(False)
        self.tracer = Tracer(ratio, most_per_s, lambda: self.chance, self.noise, lambda: self.now, lambda: 7)
        self.tracer.socket_came(theirs.detach())
        self.traced = TracedCalls(self.tracer)

    def noise(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")

    def run(self, request: RunningCall) -> Trace | None:
        return self.traced.run(request, current_trace)

    def spans(self) -> list[Span]:
        found = []
        while True:
            try:
                found.append(decode_span_untrusted(self.reader.recv(SPAN_BYTES)))
            except BlockingIOError:
                return found


@pytest.fixture
def stages() -> Iterator[Any]:
    made: list[Stage] = []

    def make(ratio: float, most_per_s: float) -> Stage:
        made.append(Stage(ratio, most_per_s))
        return made[-1]

    yield make
    for stage in made:
        stage.reader.close()
        os.close(stage.tracer._descriptor)


def test_a_client_is_believed_so_often_a_second_and_no_more(stages: Any) -> None:
    stage = stages(0.0, 2.0)
    seen = [stage.run(call(ASKED)) for _ in range(5)]
    assert [one.flags for one in seen] == [1, 1, 0, 0, 0]
    assert {one.trace_id for one in seen} == {ASKED.trace_id} and seen[2].span_id == ASKED.span_id
    assert len(stage.spans()) == 2
    stage.now += 1.0
    assert stage.run(call(ASKED)).flags == 1
    assert stage.run(call(ASKED, src="third/other")).flags == 1  # which was looked at where it came from


def test_a_span_says_what_ran_for_whom_and_how_it_ended(stages: Any) -> None:
    stage = stages(0.0, 9.0)
    request = call(ASKED)
    request.fault = "not_found"
    seen = stage.run(request)
    [span] = stage.spans()
    assert (span.trace_id, span.parent_id, span.span_id) == (ASKED.trace_id, ASKED.span_id, seen.span_id)
    assert (span.name, span.component, span.peer) == ("third/io/read", "third/io", "client/x")
    assert (span.error, span.state, span.began_ns) == ("not_found", "a=b", 7)


def test_what_no_one_sampled_is_not(stages: Any) -> None:
    stage = stages(0.0, 9.0)
    assert stage.run(call(None)) is None and stage.run(call(ASKED._replace(flags=0))).flags == 0
    assert stage.spans() == []


def test_a_part_of_the_others_begins_here(stages: Any) -> None:
    stage = stages(0.25, 0.0)
    assert stage.run(call(None)) is None
    stage.chance = 0.2
    seen = stage.run(call(None))
    [span] = stage.spans()
    assert seen.is_sampled and span.parent_id == bytes(8) and span.trace_id == seen.trace_id


def test_without_a_tracer_traces_pass_through() -> None:
    traced = TracedCalls(None)
    assert traced.run(call(ASKED), current_trace) == ASKED and traced.run(call(None), current_trace) is None
    assert current_trace() is None


def test_a_reader_that_is_away_or_full_stops_no_call(stages: Any) -> None:
    stage = stages(1.0, 0.0)
    stage.chance = 0.0
    for _ in range(5000):
        stage.run(call(None))
    assert stage.tracer.lost > 0
    stage.reader.close()
    assert stage.run(call(None)) is not None
