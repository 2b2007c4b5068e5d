"""Attacked sentence: spans of a captured process are there as spans of that process, and cost the others nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from attackers.arena import PACKAGE, VICTIM
from hosts.collectors import Collector, OtlpRequests, attributes_of, until
from hosts.running_host import RunningHost, running

from tlsrt import traced
from tlsrt.channels.control.spans import SPANS_BURST, SPANS_PER_S, Span, SpanKind, encode_span

LIAR = "third/liar"
PARENT = "00-{:032x}-00f067aa0ba902b7-01"
LIE = Span(
    b"l" * 16, b"s" * 8, b"p" * 8, SpanKind.SERVER, 'primary/kernel/reboot","kind":3,"x":"', "primary/kernel",
    "client/admin", 1, 2, '"}],"status":{"code":1}', "", 1_000_000,
)  # fmt: skip


@dataclass
class Stage:
    """A host with a captured component, and what its collector has."""

    host: RunningHost
    otlp: OtlpRequests

    def of(self, trace: bytes) -> list[dict[str, str]]:
        return [attributes_of(one) for one in self.otlp.spans() if one.trace_id == trace]


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    otlp = OtlpRequests()
    with Collector(otlp.read, None) as collector:
        extra = {"traces": {"endpoint": f"http://127.0.0.1:{collector.port}", "most_per_s": 100}}
        for host in running(
            request, extra=extra, packages=[PACKAGE],
            policy={f"client/admin -> {VICTIM}": "*", f"client/admin -> {LIAR}": "*"},
            components={
                VICTIM: {"class": "captured.counter:Counter", "process": "shared"},
                LIAR: {"class": "captured.spans:Spans", "process": "shared"},
            },
        ):  # fmt: skip
            yield Stage(host, otlp)


def test_lies_are_spans_of_the_liar_and_garbage_is_none(stage: Stage) -> None:
    client = stage.host.client()
    pid = stage.host.status()["export"]["pid"]
    garbage = [b"\x00", b"\xff" * 60_000, b"\x9c" + b"\xc1" * 11, encode_span(LIE)[:-1], encode_span(LIE) * 9]
    assert client.call(LIAR, "say", garbage, 3) == 15
    client.call(LIAR, "say", [encode_span(LIE)], 1)
    until(lambda: stage.of(LIE.trace_id), "the lie")
    assert [one["tlsrt.process"] for one in stage.of(LIE.trace_id)] == ["third"]
    assert client.call(LIAR, "hear") == "BlockingIOError"
    stage.host.told("export_dropped", "otlp traces")
    assert stage.host.status()["export"]["pid"] == pid and stage.host.status()["export"]["restarts"] == 0


def test_a_flood_is_read_no_faster_and_another_process_is_heard(stage: Stage) -> None:
    client = stage.host.client()
    flood = encode_span(LIE._replace(trace_id=b"f" * 16, lost=0))
    began = time.monotonic()
    for _ in range(20):
        client.call(LIAR, "say", [flood], 2000)
    with traced(PARENT.format(7)):
        client.call(VICTIM, "trace_of")
    until(lambda: stage.of((7).to_bytes(16, "big")), "the span of the other one")
    taken, took_s = len(stage.of(b"f" * 16)), time.monotonic() - began
    assert 0 < taken <= SPANS_BURST + took_s * SPANS_PER_S + 1
    assert stage.host.status()["export"]["restarts"] == 0
