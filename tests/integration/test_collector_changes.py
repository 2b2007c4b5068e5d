"""Collectors by name, and changes of them by `reload`: nothing that waits is lost, and no other place is reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from attackers.arena import PACKAGE, VICTIM
from fakes.name_server import NameServer, name_server
from hosts.collectors import NAME, Collector, Files, OtlpRequests, SyslogMessages, make_files, server_context, until
from hosts.late_prelude import LatePrelude
from hosts.reloading_host import edit, reload
from hosts.running_host import RunningHost, running

from tlsrt import traced

PARENT = "00-{:032x}-00f067aa0ba902b7-01"
PRELUDE = """
from tlsrt.supervisor.supervision import name_lookup
name_lookup.LEAST_S, name_lookup.LINGER_S, name_lookup.ABSENT_S, name_lookup.RETRY_MOST_S = 0.2, 1.0, 0.2, 0.2
import tlsrt.supervisor.export.sender as sender
sender._CAP_S = sender.DROPPED_S = 0.5
"""


@dataclass
class Stage:
    """A host without collectors at its start, a name server, and two collectors that it may have."""

    host: RunningHost
    names: NameServer
    files: Files
    syslog: Collector
    messages: SyslogMessages
    otlp: Collector
    requests: OtlpRequests

    def reload(self, **parts: Any) -> dict[str, Any]:
        edit(self.host, lambda document: document.update({"log": {}, "traces": {}, **parts}))
        return reload(self.host)

    def to_syslog(self, host: str, **more: object) -> dict[str, object]:
        return {
            "syslog": {
                "address": f"{host}:{self.syslog.port}", "name": NAME, "ca": str(self.files.ca),
                "within": ["127.0.0.0/8"], **more,
            }
        }  # fmt: skip

    def last_event(self) -> int:
        return int(json.loads(self.host.cli("events", "-n", "1", "--json").stdout)["seq"])

    def has(self, first: int, last: int) -> bool:
        """Tell whether both collectors together have these events."""
        found = {
            int(attribute["value"]["stringValue"])
            for record in self.requests.records() for attribute in record["attributes"]
            if attribute["key"] == "TLSRT_SEQUENCE"
        }  # fmt: skip
        return found >= set(range(first, last + 1))


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    files = make_files(tmp_path_factory.mktemp("collectors"))
    messages, requests, context = SyslogMessages(), OtlpRequests(), server_context(files)
    with (
        Collector(messages.read, context) as syslog,
        Collector(requests.read, context) as otlp,
        name_server() as names,
    ):
        names.records.update({"logs.test": ["127.0.0.1"], "inward.test": ["127.0.0.1"], "moving.test": ["127.0.0.9"]})
        for host in running(
            request, extra={"resolver": {"servers": [f"127.0.0.1:{names.port}"]}}, prelude=LatePrelude(PRELUDE),
            packages=[PACKAGE], policy={f"client/admin -> {VICTIM}": "*"},
            components={VICTIM: {"class": "captured.counter:Counter", "process": "shared"}},
        ):  # fmt: skip
            yield Stage(host, names, files, syslog, messages, otlp, requests)


def test_a_host_without_collectors_gets_one_by_its_name(stage: Stage) -> None:
    assert stage.host.status()["export"] is None
    stage.reload(log=stage.to_syslog("logs.test"))
    until(lambda: any(" reloaded " in one for one in stage.messages.messages), "the event at the collector")
    assert stage.host.status()["export"]["state"] == "active"
    stage.host.told("name_resolved", "logs.test is 127.0.0.1")


def test_a_name_that_leads_elsewhere_is_not_followed(stage: Stage) -> None:
    before = stage.syslog.connections
    report = stage.reload(log=stage.to_syslog("inward.test", within=[]))
    assert "log.syslog.address" in report["settings"] and not report["moved"]
    stage.host.told("name_unresolved", "inward.test is said to be 127.0.0.1")
    stage.host.told("collector_lost", f"syslog inward.test:{stage.syslog.port}: it cannot be reached")
    stage.reload(log=stage.to_syslog("logs.test", name="other.example"))
    stage.host.told("collector_lost", f"syslog logs.test:{stage.syslog.port}: its certificate or its TLS")
    assert stage.syslog.connections > before


def test_an_address_that_moves_is_asked_for_again(stage: Stage) -> None:
    stage.names.ttl_s = 3600
    before = len(stage.messages.messages)
    stage.reload(log=stage.to_syslog("moving.test"))
    stage.host.told("collector_lost", f"syslog moving.test:{stage.syslog.port}: it cannot be reached")
    stage.names.records["moving.test"] = ["127.0.0.1"]
    until(lambda: any("moving.test" in one for one in stage.messages.messages[before:]), "what has waited meanwhile")


def test_what_waits_for_a_collector_goes_to_the_next_one(stage: Stage) -> None:
    pid = stage.host.status()["export"]["pid"]
    unused = {"endpoint": "http://127.0.0.1:1"}
    stage.reload(log={"otlp": unused})
    stage.host.told("collector_lost", "otlp logs 127.0.0.1:1: it cannot be reached")
    first = stage.last_event()
    with stage.host.client() as client:
        client.call(VICTIM, "value")
    otlp = {
        "endpoint": f"https://logs.test:{stage.otlp.port}", "name": NAME, "ca": str(stage.files.ca),
        "within": ["127.0.0.0/8"],
    }  # fmt: skip
    stage.reload(log={"otlp": otlp}, traces={**otlp, "ratio": 0})
    last = stage.last_event()
    until(lambda: stage.has(first, last), "all events")
    assert stage.host.status()["export"]["pid"] == pid and stage.host.status()["export"]["restarts"] == 0


def test_processes_say_spans_from_a_reload_on_and_end_with_another(stage: Stage) -> None:
    def asks(number: int) -> str:
        with stage.host.client() as client, traced(PARENT.format(number)):
            return str(client.call(VICTIM, "trace_of")).split("-")[2]

    own = "00f067aa0ba902b7"
    assert asks(1) != own  # since the reload of the test before
    until(lambda: [one for one in stage.requests.spans() if one.trace_id.endswith(b"\1")], "the span")
    stage.reload()
    until(lambda: asks(2) == own, "traces that pass through")
    stage.host.until(lambda status: status["export"] is None, "the end of the process")
