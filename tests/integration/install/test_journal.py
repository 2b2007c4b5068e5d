"""A host as a service of a real systemd: what `journalctl` shows of it, and what it says to each event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.booted_systemd import BootedSystemd, booted

from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.journal_catalog import FILE

pytestmark = pytest.mark.once

CONFIG = "/etc/tlsrt/tlsrt.yaml"
UNIT = """
[Service]
ExecStart=/opt/tlsrt/env/bin/tlsrt-supervisor --config /etc/tlsrt/tlsrt.yaml start
Delegate=yes
KillMode=mixed
"""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    for made in booted(request):
        _start(made)
        yield made


def _start(machine: BootedSystemd) -> None:
    machine.do("tlsrt-supervisor", "init", "/etc/tlsrt")
    machine.write("/run/systemd/system/tlsrt.service", UNIT)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "tlsrt")
    machine.until(lambda: bool(entries(machine, "ready")), "the start of the host")


def entries(machine: BootedSystemd, event: str, *matches: str) -> list[dict[str, Any]]:
    return machine.journal("-u", "tlsrt", f"TLSRT_EVENT={event}", *matches)


def status(machine: BootedSystemd, loop: str) -> dict[str, Any]:
    document = json.loads(machine.do("tlsrt-supervisor", "status", "--json", "--config", CONFIG))
    return next(one for one in document["loops"] if one["name"] == loop)


def test_a_start_has_its_fields_and_no_line_of_text(machine: BootedSystemd) -> None:
    [ready] = entries(machine, "ready")
    assert (
        ready["PRIORITY"] == "6" and ready["SYSLOG_IDENTIFIER"] == "tlsrt" and ready["TLSRT_DOOR"].startswith("tls://")
    )
    assert ready["MESSAGE_ID"] == EVENTS["ready"].message_id
    assert ready["CODE_FUNC"] == "StartupReport.loop_changed" and int(ready["CODE_LINE"]) > 1
    assert ready["_SYSTEMD_UNIT"] == "tlsrt.service"
    assert {one["TLSRT_LOOP"] for one in entries(machine, "active") if "TLSRT_LOOP" in one} >= {"primary", "secondary"}
    assert machine.journal("-u", "tlsrt", "_TRANSPORT=stdout") == []


def test_an_attack_is_an_alarm_with_its_subject(machine: BootedSystemd) -> None:
    assert machine.run("tlsrt", "--bundle", "/etc/tlsrt/admin.tlsrt", "call", "secondary/vault", "open").returncode != 0
    machine.until(lambda: bool(entries(machine, "decoy_touched")), "the alarm")
    [entry] = entries(machine, "decoy_touched", "-p", "crit")
    assert entry["TLSRT_SUBJECT"] == "client/admin" and "secondary/vault" in entry["MESSAGE"]


def test_a_death_a_lock_and_a_refused_reload_are_warnings(machine: BootedSystemd) -> None:
    pid, before = status(machine, "secondary")["pid"], status(machine, "secondary")["restarts"]
    machine.do("kill", "-9", str(pid))
    machine.until(lambda: bool(entries(machine, "died", "TLSRT_LOOP=secondary")), "the death")
    machine.until(lambda: status(machine, "secondary")["restarts"] > before, "the next one")
    machine.do("tlsrt-supervisor", "lock", "--reason", "a\ntrial", "--config", CONFIG)
    text = machine.path(CONFIG).read_text()
    machine.write(CONFIG, text + "nonsense: 1\n")
    assert machine.run("tlsrt-supervisor", "reload", "--config", CONFIG).returncode != 0
    machine.write(CONFIG, text)
    machine.until(lambda: bool(entries(machine, "reload_refused")), "the refusal")
    found = {one.get("TLSRT_EVENT"): one for one in machine.journal("-u", "tlsrt", "-p", "warning")}
    assert {"died", "locked", "reload_refused"} <= found.keys()
    [died] = entries(machine, "died", "TLSRT_LOOP=secondary")
    assert found["locked"]["PRIORITY"] == "2" and (died["PRIORITY"], died["TLSRT_SIGNAL"]) == ("4", "SIGKILL")
    assert "active" not in found and "\n" not in found["locked"]["MESSAGE"]


def test_journalctl_explains_an_event(machine: BootedSystemd) -> None:
    machine.write(f"/usr/lib/systemd/catalog/{FILE}", machine.do("tlsrt-supervisor", "events", "--catalog"))
    machine.do("journalctl", "--update-catalog")
    text = machine.do("journalctl", "-x", "--no-pager", "-u", "tlsrt", "TLSRT_EVENT=locked")
    assert EVENTS["locked"].remedy in text and "Subject: host: host locked" in text


def test_why_a_host_does_not_start_is_an_error(machine: BootedSystemd) -> None:
    machine.systemctl("stop", "tlsrt")
    text = machine.path(CONFIG).read_text()
    machine.write(CONFIG, text + "nonsense: 1\n")
    machine.systemctl("start", "tlsrt")
    machine.until(lambda: bool(machine.journal("-u", "tlsrt", "-p", "err", "_TRANSPORT=stdout")), "the error")
    machine.write(CONFIG, text)
    [error] = machine.journal("-u", "tlsrt", "-p", "err", "_TRANSPORT=stdout")
    assert "unknown key 'nonsense'" in error["MESSAGE"] and error["PRIORITY"] == "3"


def test_a_log_is_there_too_and_without_a_journal_there_are_lines_of_json(machine: BootedSystemd) -> None:
    assert entries(machine, "stopped")
    [entry] = machine.journal("-u", "tlsrt", "TLSRT_LOOP=third", "MESSAGE=third: stopped")
    assert entry["PRIORITY"] == "6" and "TLSRT_EVENT" not in entry, "a line of its log"
    names: list[str] = []
    with machine.popen("tlsrt-supervisor", "--config", CONFIG, "start", "--log", "json") as host:
        assert host.stdout is not None
        for line in host.stdout:
            names.append(json.loads(line).get("event", ""))
            if names[-1] == "ready":
                machine.do("tlsrt-supervisor", "stop", "--config", CONFIG)
    assert host.returncode == 0 and names[0] == "starting" and "stopped" in names
