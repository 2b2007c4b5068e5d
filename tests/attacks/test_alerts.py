"""Attacked sentence: a captured component reports no anomaly but its own, and cannot flood the host with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt.channels.control.life import ALERTS_AT_ONCE
from tlsrt.errors import CallError, Failed

WATCH, NEIGHBOUR = "third/watch", "forth/other"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    odd = {"name": "odd", "why": "a test of what is odd"}
    grave = {"name": "grave", "severity": "critical", "why": "a test of what is grave"}
    one = {"class": "captured.helped:Helped"}
    yield from running(
        request, packages=[PACKAGE],
        components={WATCH: one | {"needs": {"alerts": [odd]}}, NEIGHBOUR: one | {"needs": {"alerts": [odd, grave]}}},
        policy={f"client/admin -> {one}": "*" for one in (WATCH, NEIGHBOUR)},
        detection={"detectors": {"alert_critical": {"mode": "act"}}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("alert", "times", "word"), [(1, 1, "no_such_alert"), (0, 0, "alert_out_of_range"), (0, 1001, "alert_out_of_range")]
)
def test_what_is_not_granted_ends_the_process_and_reports_nothing(
    host: RunningHost, alert: int, times: int, word: str
) -> None:
    before, neighbour = host.loop("third.watch")["restarts"], host.loop("forth.other")["pid"]
    with suppress(CallError):  # it may answer before it ends
        host.client().call(WATCH, "say_alert", alert, times)
    host.until(lambda document: host.loop("third.watch")["restarts"] > before, "its end")
    host.until(lambda document: host.loop("third.watch")["state"] == "active", "the next one")
    assert word in host.loop("third.watch")["last_death"]["sentence"]
    assert host.loop("forth.other")["pid"] == neighbour and host.status()["lock"] is None


def test_an_honest_component_cannot_report_what_it_was_not_granted(host: RunningHost) -> None:
    with pytest.raises(Failed):
        host.client().call(WATCH, "report", "grave")
    assert host.loop("third.watch")["state"] == "active"


def test_a_flood_is_one_event_and_locks_nothing(host: RunningHost) -> None:
    assert host.client().call(WATCH, "report", "odd", 5000) == "reported"
    assert host.client().call(WATCH, "say_alert", 0, 1000, 30) == "sent"  # more records would end it
    host.told("alert_warning: odd: a test of what is odd", by=("events", "--json"))
    assert host.client().call(WATCH, "report", "odd") == "reported", "it is neither ended nor in quarantine"
    records = [one for one in _records(host) if "alert_warning" in json.dumps(one)]
    assert 1 <= len(records) <= 2 * ALERTS_AT_ONCE and host.status()["lock"] is None


def test_a_grave_one_locks_the_host_where_the_operator_says_so(host: RunningHost) -> None:
    with suppress(CallError):  # the lock may come before the answer
        host.client().call(NEIGHBOUR, "report", "grave")
    host.until(lambda document: document["lock"] is not None, "the lock")
    assert "alert_critical at forth/other: grave: a test of what is grave" in host.told("alert_critical")
    assert host.loop("forth.other")["state"] in ("active", "draining"), "who reports is not charged"


def _records(host: RunningHost) -> list[Any]:
    return [json.loads(line) for line in host.cli("audit", "tail", "--json").stdout.splitlines()]
