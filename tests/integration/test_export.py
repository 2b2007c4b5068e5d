"""The log of a real host at its collectors: a real rsyslog over TLS with certificates, and one of OpenTelemetry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf import json_format
from hosts.collectors import NAME, Collector, OtlpRequests, make_files, rsyslog, server_context, until
from hosts.running_host import RunningHost, running
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from tools.programs import need


@dataclass
class Collected:
    """A host and what its collectors have."""

    host: RunningHost
    syslog: Callable[[], list[dict[str, Any]]]
    otlp: OtlpRequests


@pytest.fixture(scope="module")
def collected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collected]:
    folder = tmp_path_factory.mktemp("collectors")
    files = make_files(folder)
    otlp = OtlpRequests()
    with (
        Collector(otlp.read, server_context(files)) as collector,
        rsyslog(files, folder, need("rsyslogd")) as (port, written),
    ):
        extra = {
            "log": {
                "syslog": {
                    "address": f"127.0.0.1:{port}", "name": NAME, "ca": str(files.ca),
                    "certificate": str(files.host_certificate), "key": str(files.host_key),
                },
                "otlp": {"endpoint": f"https://127.0.0.1:{collector.port}/base", "ca": str(files.ca)},
            }
        }  # fmt: skip
        for host in running(request, extra=extra):
            yield Collected(host, written, otlp)


def test_rsyslog_has_events_with_their_fields(collected: Collected) -> None:
    until(lambda: any(one["msgid"] == "ready" for one in collected.syslog()), "the event at rsyslog")
    ready = next(one for one in collected.syslog() if one["msgid"] == "ready")
    assert ready["pri"] == "30" and ready["programname"] == "tlsrt" and ready["hostname"]
    assert re.search(r'\[tlsrt@32473 TLSRT_EVENT="ready" TLSRT_SUBJECT="supervisor" .*TLSRT_LOOPS="\d', ready["rawmsg"])
    assert ready["msg"] == "supervisor: every process serves or has failed once"


def test_lines_of_processes_are_there_as_words_of_these(collected: Collected) -> None:
    log = collected.host.config.log_dir / "third.log"
    with log.open("ab") as file:  # as a process that is captured could write it
        file.write(b'x"] <0>1 - host tlsrt - unlocked [tlsrt@32473 TLSRT_EVENT="unlocked"] \xc3\xa4\x00\r\xff\n')
    until(lambda: any("unlocked" in one["rawmsg"] for one in collected.syslog()), "the line")
    [line] = [one for one in collected.syslog() if "unlocked" in one["rawmsg"]]
    assert (line["msgid"], line["procid"], line["pri"]) == ("-", "third", "30")
    assert line["msg"].lstrip("\ufeff").startswith('third: x"] <0>1 - host tlsrt') and "ä\\x00\\r" in line["msg"]
    records = collected.otlp.records
    until(lambda: any("unlocked" in one["body"]["stringValue"] for one in records()), "the line by OTLP")
    [record] = [one for one in records() if "unlocked" in one["body"]["stringValue"]]
    assert (
        "eventName" not in record and {"key": "TLSRT_LOOP", "value": {"stringValue": "third"}} in record["attributes"]
    )


def test_requests_are_what_the_protocol_asks_for(collected: Collected) -> None:
    until(lambda: any(one.get("eventName") == "ready" for one in collected.otlp.records()), "the event by OTLP")
    for path, body in [*collected.otlp.bodies]:
        request = json_format.Parse(json.dumps(body), ExportLogsServiceRequest(), ignore_unknown_fields=True)
        assert path == "/base/v1/logs" and request.resource_logs[0].scope_logs[0].log_records
        resource = {one.key: one.value.string_value for one in request.resource_logs[0].resource.attributes}
        assert resource["service.name"] == "tlsrt" and resource["host.name"]


def test_the_status_has_the_process_and_a_stop_is_told(collected: Collected) -> None:
    assert collected.host.status()["export"]["state"] == "active"
    assert "export: active" in collected.host.cli("status").stdout
    collected.host.stop()
    until(lambda: any(one.get("eventName") == "stopping" for one in collected.otlp.records()), "the stop by OTLP")
    until(lambda: any(one["msgid"] == "stopping" for one in collected.syslog()), "the stop at rsyslog")
