"""Spans of a real host at a collector of OpenTelemetry: of what, of which process, and how many a client gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from attackers.arena import PACKAGE, VICTIM
from hosts.collectors import Collector, OtlpRequests, attributes_of, until
from hosts.running_host import RunningHost, running
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tlsrt import NotFound, traced

ASKER = "third/asker"
PARENT = "00-{:032x}-00f067aa0ba902b7-01"


@dataclass
class Collected:
    """A host and what its collector has."""

    host: RunningHost
    otlp: OtlpRequests

    def spans(self, trace: int) -> list[Span]:
        """Return those of one trace, the last to end first."""
        return [one for one in self.otlp.spans() if int(one.trace_id.hex(), 16) == trace][::-1]


@pytest.fixture(scope="module")
def collected(request: pytest.FixtureRequest) -> Iterator[Collected]:
    otlp = OtlpRequests()
    with Collector(otlp.read, None) as collector:
        extra = {"traces": {"endpoint": f"http://127.0.0.1:{collector.port}/base", "most_per_s": 3}}
        for host in running(
            request, extra=extra, packages=[PACKAGE],
            policy={
                f"client/admin -> {VICTIM}": "*", f"client/admin -> {ASKER}": "*", f"{ASKER} -> {VICTIM}": ["trace_of"]
            },
            components={
                VICTIM: {"class": "captured.counter:Counter", "process": "shared"},
                ASKER: {
                    "class": "captured.spans:Spans", "programs": {"true": {"run": "/usr/bin/true", "why": "a test"}}
                },
            },
        ):  # fmt: skip
            yield Collected(host, otlp)


def test_a_span_says_what_ran_and_is_of_the_process_that_said_it(collected: Collected) -> None:
    client = collected.host.client()
    with traced(PARENT.format(1)):
        said = client.call(VICTIM, "trace_of")
        with pytest.raises(NotFound):
            client.call(VICTIM, "nothing")
    until(lambda: len(collected.spans(1)) >= 2, "the spans")
    bad, good = collected.spans(1)
    assert said.split("-")[1:3] == [good.trace_id.hex(), good.span_id.hex()]
    assert good.parent_span_id.hex() == "00f067aa0ba902b7" and good.kind == Span.SPAN_KIND_SERVER
    assert good.name == f"{VICTIM}/trace_of" and good.end_time_unix_nano >= good.start_time_unix_nano
    attributes = attributes_of(good)
    assert attributes["tlsrt.process"] == VICTIM.partition("/")[0] and attributes["tlsrt.peer"] == "client/admin"
    assert (good.status.code, bad.status.code, bad.status.message) == (0, 2, "not_found")
    assert all(path == "/base/v1/traces" for path, _ in collected.otlp.bodies)


def test_a_client_that_floods_has_few_sampled(collected: Collected) -> None:
    client = collected.host.client()
    seen = []
    for number in range(1000, 1060):
        with traced(PARENT.format(number)):
            seen.append(client.call(VICTIM, "trace_of"))
    sampled = sum(one.strip().endswith("-01") for one in seen)
    assert 0 < sampled < 50 and all(len(one.strip()) == 55 for one in seen)
    until(lambda: sum(len(collected.spans(number)) for number in range(1000, 1060)) == sampled, "the spans of those")


def test_a_job_goes_on_in_the_trace_in_which_it_was_put_and_so_does_what_it_runs(collected: Collected) -> None:
    client = collected.host.client()
    with traced(PARENT.format(5)):
        client.put_off("1s", ASKER, "ask_and_run", VICTIM, "trace_of")
    until(lambda: len(collected.spans(5)) >= 5, "the spans of put, job, call, handler and program")
    named = {(one.name, one.kind): one for one in collected.spans(5)}
    job = max(
        (one for one in collected.spans(5) if one.name == f"{ASKER}/ask_and_run"),
        key=lambda one: one.start_time_unix_nano,
    )
    put = named.get((f"{ASKER}/ask_and_run", Span.SPAN_KIND_SERVER))
    program = named[f"{ASKER}/true", Span.SPAN_KIND_INTERNAL]
    between, there = (named[f"{VICTIM}/trace_of", kind] for kind in (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER))
    assert put is not None and program.parent_span_id == between.parent_span_id == job.span_id
    assert there.parent_span_id == between.span_id and attributes_of(job)["tlsrt.peer"] == "client/admin"
    assert program.status.code == 0


def test_a_call_of_a_component_stands_between_and_all_is_there_after_a_stop(collected: Collected) -> None:
    client = collected.host.client()
    with traced(PARENT.format(3)):
        client.call(ASKER, "ask", VICTIM, "trace_of")
    collected.host.stop()
    until(lambda: len(collected.spans(3)) == 3, "the spans")
    first, between, there = sorted(collected.spans(3), key=lambda one: one.start_time_unix_nano)
    assert (first.kind, between.kind, there.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, first.kind)
    assert (between.parent_span_id, there.parent_span_id) == (first.span_id, between.span_id)
    assert [attributes_of(one)["tlsrt.process"] for one in (first, between, there)] == [
        "third.asker",
        "third.asker",
        "secondary",
    ]
    assert attributes_of(between)["tlsrt.peer"] == VICTIM and between.name == f"{VICTIM}/trace_of"
