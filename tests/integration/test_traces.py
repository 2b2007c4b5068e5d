"""Spans of a real host at a collector of OpenTelemetry: of what, of which process, and how many a client gets."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from attackers.arena import PACKAGE, VICTIM
from google.protobuf import json_format
from hosts.collectors import Collector, OtlpRequests, until
from hosts.running_host import RunningHost, running
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tlsrt import NotFound, traced

_ID = re.compile(r'"(traceId|spanId|parentSpanId)": "([0-9a-f]+)"')
PARENT = "00-{:032x}-00f067aa0ba902b7-01"


def _as_base64(found: re.Match[str]) -> str:
    return f'"{found[1]}": "{base64.b64encode(bytes.fromhex(found[2])).decode()}"'


@dataclass
class Collected:
    """A host and what its collector has."""

    host: RunningHost
    otlp: OtlpRequests

    def spans(self) -> list[Span]:
        """Return all spans, as the library of OpenTelemetry reads them."""
        found: list[Span] = []
        for path, body in [*self.otlp.bodies]:
            assert path == "/base/v1/traces"
            request = ExportTraceServiceRequest()
            json_format.Parse(_ID.sub(_as_base64, json.dumps(body)), request)  # which knows no hex: OTLP has its own
            found += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        return found


@pytest.fixture(scope="module")
def collected(request: pytest.FixtureRequest) -> Iterator[Collected]:
    otlp = OtlpRequests()
    with Collector(otlp.read, None) as collector:
        extra = {"traces": {"endpoint": f"http://127.0.0.1:{collector.port}/base", "most_per_s": 3}}
        for host in running(
            request, extra=extra, packages=[PACKAGE], policy={f"client/admin -> {VICTIM}": "*"},
            components={VICTIM: {"class": "captured.counter:Counter", "process": "shared"}},
        ):  # fmt: skip
            yield Collected(host, otlp)


def test_a_span_says_what_ran_and_is_of_the_process_that_said_it(collected: Collected) -> None:
    client = collected.host.client()
    with traced(PARENT.format(1)):
        said = client.call(VICTIM, "trace_of")
        with pytest.raises(NotFound):
            client.call(VICTIM, "nothing")
    until(lambda: len(collected.spans()) >= 2, "the spans")
    good, bad = collected.spans()[:2]
    assert said.split("-")[1:3] == [good.trace_id.hex(), good.span_id.hex()]
    assert good.parent_span_id.hex() == "00f067aa0ba902b7" and good.kind == Span.SPAN_KIND_SERVER
    assert good.name == f"{VICTIM}/trace_of" and good.end_time_unix_nano >= good.start_time_unix_nano
    attributes = {one.key: one.value.string_value for one in good.attributes}
    assert attributes["tlsrt.process"] == VICTIM.partition("/")[0] and attributes["tlsrt.peer"] == "client/admin"
    assert (bad.status.code, bad.status.message) == (2, "not_found")


def test_a_client_that_floods_has_few_sampled(collected: Collected) -> None:
    client, before = collected.host.client(), len(collected.spans())
    seen = []
    for number in range(60):
        with traced(PARENT.format(number + 2)):
            seen.append(client.call(VICTIM, "trace_of"))
    sampled = sum(one.strip().endswith("-01") for one in seen)
    assert 0 < sampled < 50 and all(len(one.strip()) == 55 for one in seen)
    until(lambda: len(collected.spans()) == before + sampled, "the spans of those")
