"""Attacked sentence: only who is granted it gets descriptors of logs, after the audit log has it, and to read alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt.channels.control.life import FILES_AT_ONCE, FILES_OF_ANSWER
from tlsrt.errors import CallError, Failed

READER, LOGS_ONLY, OTHER, SEES = "forth/reader", "third/logsonly", "third/other", "third/sees"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    one = {"class": "captured.helped:Helped"}
    logs, audit = ({"may": may, "why": "a test"} for may in ("logs", "audit"))
    status = {"may": "status", "why": "a test"}
    yield from running(
        request, packages=[PACKAGE],
        components={READER: one | {"needs": {"runtime": [logs, audit]}}, OTHER: one,
                    LOGS_ONLY: one | {"needs": {"runtime": [logs]}}, SEES: one | {"needs": {"runtime": [status]}}},
        policy={f"client/admin -> {name}": "*" for name in (READER, LOGS_ONLY, OTHER, SEES)},
    )  # fmt: skip


def records(host: RunningHost) -> list[Any]:
    lines = [json.loads(line) for line in host.cli("audit", "tail", "-n", "500", "--json").stdout.splitlines()]
    return [one for one in lines if "runtime_act" in json.dumps(one)]


def test_who_is_granted_it_reads_all_logs_and_the_audit_log_has_it_once(host: RunningHost) -> None:
    client = host.client()
    named = client.call(READER, "log_names", "logs")
    assert {"primary", "authority", "forth.reader", "third.other"} <= {name for name, _, _ in named}
    assert [name for name, _, _ in client.call(READER, "log_names", "audit")] == ["1"]
    client.call(READER, "log_names", "logs")
    found = [json.dumps(one) for one in records(host) if READER in json.dumps(one)]
    assert sum('"logs"' in one for one in found) == sum('"audit"' in one for one in found) == 1
    assert f"{READER}: logs" in host.told("runtime_act")
    assert "runtime_act" in client.call(READER, "tail_of", "audit", "1")


@pytest.mark.parametrize(
    ("component", "kind"),
    [
        (OTHER, "logs"),
        (OTHER, "audit"),
        (LOGS_ONLY, "audit"),
        (LOGS_ONLY, "status"),
        (SEES, "logs"),
        (SEES, "audit"),
    ],
)
def test_an_honest_component_is_told_what_it_was_not_granted(host: RunningHost, component: str, kind: str) -> None:
    with pytest.raises(Failed):
        host.client().call(component, "log_names", kind)


@pytest.mark.parametrize(
    ("component", "right", "first", "reason"),
    [(OTHER, 0, 0, "no_such_right"), (LOGS_ONLY, 1, 0, "no_such_right"), (OTHER, 1 << 60, 1, "no_such_right")],
)
def test_without_the_right_no_descriptor_comes(
    host: RunningHost, component: str, right: int, first: int, reason: str
) -> None:
    process = component.replace("/", ".")
    before, restarts = len(records(host)), host.loop(process)["restarts"]
    with suppress(CallError):
        host.client().call(component, "say_runtime", right, 1, first)
    host.until(lambda document: host.loop(process)["restarts"] > restarts, "its end")
    assert reason in host.loop(process)["last_death"]["sentence"] and len(records(host)) == before
    host.until(lambda document: host.loop(process)["state"] == "active", "its return")


@pytest.mark.parametrize(("reader", "kind"), [(READER, "logs"), (READER, "audit"), (SEES, "status")])
def test_what_it_holds_can_be_read_and_not_written(host: RunningHost, reader: str, kind: str) -> None:
    ends = host.client().call(reader, "spoil", kind)
    assert "done" not in ends.values() and len(ends) == 6
    assert host.cli("audit", "verify").returncode == 0


def test_a_flood_of_questions_gets_a_bounded_number_of_files_and_blocks_nothing(host: RunningHost) -> None:
    came = host.client().call(READER, "flood_runtime", 0, 30)
    assert 0 < came <= FILES_OF_ANSWER * (FILES_AT_ONCE + 6)
    assert host.loop("forth.reader")["state"] == "active" and host.cli("status").returncode == 0


def test_a_number_of_a_file_that_is_not_there_gives_nothing(host: RunningHost) -> None:
    pid = host.loop("forth.reader")["pid"]
    assert host.client().call(READER, "say_runtime", 0, 1, (1 << 63) - 1) == "sent"
    assert host.client().call(READER, "hears", "uevents") is False and host.loop("forth.reader")["pid"] == pid
