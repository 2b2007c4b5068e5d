"""Which calls are sampled, by whose word, and what a span says."""

from __future__ import annotations

import math
import os
import random
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tlsrt.channels.control.export import SPAN_BYTES
from tlsrt.channels.control.spans import SPANS_BURST, Span, SpanKind, decode_span_untrusted
from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.channels.frames.trace import Trace, begin_traced, current_trace
from tlsrt.loops.dispatch.in_flight import RunningCall
from tlsrt.loops.dispatch.traced_calls import run_traced
from tlsrt.loops.dispatch.tracer import RESERVE, Tracer

ASKED = Trace(b"t" * 16, b"p" * 8, 1, "a=b")


def call(trace: Trace | None, src: str = "client/x", method: str = "read") -> RunningCall:
    correlation = trace.encode() if trace is not None else b""
    return RunningCall(
        b"n" * 24, Header(1, FrameKind.REQUEST, b"s" * 16, 1, 0, src, "third/io", 1, 1, method, 1, 1, correlation, 0)
    )


class Stage:
    """A tracer, its time, and the other end of its socket."""

    def __init__(self, ratio: float, most_per_s: float) -> None:
        self.now, self.chance, self.count = 1.0, 0.5, 0
        self.reader, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.tracer = Tracer(lambda: self.chance, self.noise, lambda: self.now, lambda: 7)
        self.tracer.begin_saying(theirs.detach(), ratio, most_per_s)

    def noise(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")

    def run(self, request: RunningCall) -> Trace | None:
        return run_traced(self.tracer, request, current_trace)

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
        stage.tracer.end_saying()


def test_a_client_is_believed_so_often_a_second_and_no_more(stages: Any) -> None:
    stage = stages(0.0, 2.0)
    seen = [stage.run(call(ASKED)) for _ in range(5)]
    assert [one.flags for one in seen] == [1, 1, 0, 0, 0]
    assert {one.trace_id for one in seen} == {ASKED.trace_id} and seen[2].span_id == ASKED.span_id
    assert len(stage.spans()) == 2
    stage.now += 1.0
    assert stage.run(call(ASKED)).flags == 1
    assert stage.run(call(ASKED, src="third/other")).flags == 1  # which was looked at where it came from
    assert stages(0.0, 0.0).run(call(ASKED)).flags == 0
    assert stages(0.0, 0.1).run(call(ASKED)).flags == 1  # one in ten seconds


def test_whoever_asks_a_process_says_so_many_spans_and_counts_the_rest(stages: Any) -> None:
    stage = stages(0.0, 0.0)
    seen = [stage.run(call(ASKED, src="third/captured")) for _ in range(SPANS_BURST + 7)]
    said = SPANS_BURST - RESERVE  # the rest is for others
    assert sum(one.is_sampled for one in seen) == said and stage.tracer.lost >= 7
    assert stage.count == said  # those that are lost draw no random bytes
    stage.spans()
    stage.now += 1.0
    stage.run(call(ASKED, src="third/captured"))
    stage.run(call(ASKED, src="third/captured"))
    assert [one.lost for one in stage.spans()] == [stage.tracer.lost, 0]
    assert stage.run(call(ASKED, src="third/rare")).is_sampled
    assert [*stage.tracer.figures()] == [
        ("tlsrt_spans", [], stage.tracer.said), ("tlsrt_lost_spans", [], stage.tracer.lost)
    ]  # fmt: skip


def test_a_flood_of_one_client_or_method_leaves_places_for_others(stages: Any) -> None:
    """Ten seconds of a thousand calls a second, beside one that is called once a second."""
    stage = stages(0.0, 3.0)
    flooding = rare = other = 0
    for tick in range(10_000):
        stage.now += 0.001
        flooding += stage.run(call(ASKED)).flags
        if tick % 1000 == 500:
            rare += stage.run(call(ASKED, method="rare")).flags
            other += stage.run(call(ASKED, src="client/other")).flags
    assert other >= 7 and rare >= 7 and 5 <= flooding <= 20
    assert flooding + rare + other <= 6 + 30


def test_a_flood_of_many_methods_leaves_places_for_other_clients(stages: Any) -> None:
    stage = stages(0.0, 3.0)
    flooding = other = 0
    for tick in range(10_000):
        stage.now += 0.001
        flooding += stage.run(call(ASKED, method=f"m{tick}")).flags
        if tick % 1000 == 500:
            other += stage.run(call(ASKED, src="client/other")).flags
    assert other >= 4 and flooding >= 15


def test_runs_of_programs_and_jobs_are_spans_of_what_is_sampled(stages: Any) -> None:
    stage = stages(0.0, 9.0)
    tracer = stage.tracer
    assert tracer.begin_program("third/io", "ffmpeg") is None and tracer.begin_job("third/io", "read", "x", b"") is None
    run = begin_traced(ASKED.encode(), lambda: tracer.begin_program("third/io", "ffmpeg"))
    assert begin_traced(ASKED._replace(flags=0).encode(), tracer.sampled_trace) == b""
    job = tracer.begin_job("third/io", "read", "client/x", begin_traced(ASKED.encode(), tracer.sampled_trace))
    run.end("status 1")
    job.end()
    ran, done = stage.spans()
    assert (ran.kind, ran.name, ran.peer, ran.error) == (SpanKind.INTERNAL, "third/io/ffmpeg", "ffmpeg", "status 1")
    assert (done.kind, done.name, done.peer) == (SpanKind.SERVER, "third/io/read", "client/x")
    assert {one.parent_id for one in (ran, done)} == {ASKED.span_id}
    assert stages(1.0, 0.0).tracer.begin_job("third/io", "read", "x", b"").trace.is_sampled


def test_a_span_says_what_ran_for_whom_and_how_it_ended(stages: Any) -> None:
    stage = stages(0.0, 9.0)
    request = call(ASKED)
    request.fault = "not_found"
    seen = stage.run(request)
    [span] = stage.spans()
    assert (span.trace_id, span.parent_id, span.span_id) == (ASKED.trace_id, ASKED.span_id, seen.span_id)
    assert (span.kind, span.name, span.component) == (SpanKind.SERVER, "third/io/read", "third/io")
    assert (span.peer, span.error, span.state, span.began_ns) == ("client/x", "not_found", "a=b", 7)


def test_what_no_one_sampled_is_not(stages: Any) -> None:
    stage = stages(0.0, 9.0)
    assert stage.run(call(ASKED._replace(flags=0))).flags == 0
    assert not any(stage.tracer.is_due() for _ in range(1000)) and stage.spans() == []


def test_a_trace_begins_here_for_one_that_is_due(stages: Any) -> None:
    stage = stages(0.25, 0.0)
    seen = stage.run(call(None))
    [span] = stage.spans()
    assert seen.is_sampled and span.parent_id == bytes(8) and span.trace_id == seen.trace_id


@pytest.mark.parametrize("ratio", [0.001, 0.2, 0.999, 1.0])
def test_so_many_are_due_as_the_ratio_says(ratio: float) -> None:
    tracer = Tracer(random.Random(7).random)
    tracer.begin_saying(os.open(os.devnull, os.O_WRONLY), ratio, 0.0)
    found = sum(tracer.is_due() for _ in range(100_000))
    tracer.end_saying()
    assert abs(found - 100_000 * ratio) <= 5 * math.sqrt(100_000 * ratio * (1 - ratio))


def test_no_ratio_and_no_chance_is_an_error() -> None:
    for ratio, chance in ((5e-324, 0.0), (5e-324, 1 - 2**-53), (1e-9, 0.5)):
        tracer = Tracer(partial(float, chance))
        tracer.begin_saying(os.open(os.devnull, os.O_WRONLY), ratio, 0.0)
        assert tracer.is_due() is (chance == 0.0)
        tracer.end_saying()


def test_where_no_spans_are_said_traces_pass_through() -> None:
    assert run_traced(Tracer(), call(ASKED), current_trace) == ASKED
    assert current_trace() is None


def test_a_reader_that_is_full_stops_no_call_and_one_that_has_ended_ends_it(stages: Any) -> None:
    stage = stages(1.0, 0.0)
    for _ in range(2000):
        stage.run(call(None))
        stage.now += 0.01
    assert stage.tracer.lost > 0 and stage.tracer.is_on
    stage.reader.close()
    stage.run(call(None))
    assert not stage.tracer.is_on and stage.run(call(ASKED)) == ASKED


def test_a_span_that_ends_after_a_change_is_said_on_the_new_socket(stages: Any) -> None:
    stage = stages(0.0, 9.0)
    span = stage.tracer.begin(call(ASKED).header)
    stage.reader.close()
    stage.reader, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    stage.tracer.begin_saying(theirs.detach(), 0.0, 0.0)
    span.end()
    assert len(stage.spans()) == 1 and stage.run(call(ASKED)).flags == 0
