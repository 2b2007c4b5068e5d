"""`doctor`: what is judged, and that each finding has a remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.errors import EX_FAILED
from tlsrt.supervisor.audit.verified import note_verified
from tlsrt.supervisor.cli.ages import Age, age_lines, client_ages
from tlsrt.supervisor.cli.diagnosis import (
    PROBLEM,
    WARNING,
    Diagnosis,
    DiskRoom,
    deaths_in,
    of_age,
    of_certificate,
    of_clients,
    of_clock,
    of_disks,
    of_permissions,
    of_processes,
    of_status,
)
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.process.kernel_clock import is_clock_synchronised

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def severities(found: Iterable[Diagnosis]) -> list[str]:
    each = list(found)
    assert all(one.remedy and one.sentence for one in each)
    return [one.severity for one in each]


def test_certificates_that_end() -> None:
    for days, wanted in ((-1, [PROBLEM]), (5, [WARNING]), (60, [])):
        assert severities(of_certificate("door", NOW + timedelta(days=days), NOW, "renew")) == wanted


def test_a_certificate_that_has_not_begun_shows_a_wrong_clock() -> None:
    later = NOW + timedelta(days=1)
    [found] = of_certificate("door", NOW + timedelta(days=60), NOW, "renew", later)
    assert found.severity == PROBLEM and found.remedy == "timedatectl set-ntp true"


def test_clients_count_by_their_newest_certificate_and_not_when_they_are_revoked() -> None:
    def client(name: str, *days: int, **more: Any) -> dict[str, Any]:
        ends = [int((NOW + timedelta(days=one)).timestamp() * 1000) for one in days]
        return {"name": name, "certificates": [{"ends_ms": one} for one in ends], **more}

    clients = [
        client("phone", 2, 90), client("kiosk", 2), client("gone", 2, revoked_ms=1), client("new"),
        client("listed", 2, is_listed=True),
    ]  # fmt: skip
    (found,) = of_clients(clients, NOW)
    assert found.remedy == "tlsrt-supervisor client renew kiosk"


def test_disks_with_little_room() -> None:
    big = 1 << 40
    assert severities(of_disks([DiskRoom("state", "/x", big // 2, big, 10, 20)])) == []
    assert severities(of_disks([DiskRoom("state", "/x", 200 << 20, big, 10, 20)])) == [WARNING]
    assert severities(of_disks([DiskRoom("state", "/x", 1 << 20, big, 10, 20)])) == [PROBLEM]
    assert severities(of_disks([DiskRoom("state", "/x", big // 2, big, 1, 1000)])) == [WARNING]
    assert severities(of_disks([DiskRoom("state", "/x", big // 2, big, 0, 0)])) == [], "some have no inodes to count"


def test_a_clock_that_jumps_or_is_held_by_nothing() -> None:
    def event(wall_s: float, boottime_s: float) -> dict[str, Any]:
        at = datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")
        return {"at": at, "boottime_ms": boottime_s * 1000}

    steady = [event(1000, 10), event(1100, 110), {"dropped": 3}]
    assert severities(of_clock(True, steady)) == [] and severities(of_clock(None, steady)) == []
    assert severities(of_clock(False, steady)) == [WARNING]
    (found,) = of_clock(True, [*steady, event(1000, 120)])
    assert found.sentence.startswith("it jumped back by 1 min 50 s")


def test_what_was_done_long_ago_or_never() -> None:
    def found(at: str | None) -> list[str]:
        return severities(of_age("backup", "backup", at, NOW, 7, "do it"))

    assert found(NOW.isoformat()) == [] and found((NOW - timedelta(days=8)).isoformat()) == [WARNING]
    assert found(None) == [WARNING] and found("nonsense") == [WARNING] and found("2026-01-01") == [WARNING]


def test_a_host_that_runs() -> None:
    good: dict[str, Any] = {
        "lock": None, "supervision": {"groups": [{"state": "healthy"}], "stopped": []}, "warnings": [], "audit": None,
    }  # fmt: skip
    assert severities(of_status(good, {"third": 1})) == []
    bad: dict[str, Any] = {
        "lock": {"reason": "\x1b[2J"},
        "supervision": {
            "groups": [{"state": "degraded", "down": ["third"], "why": "it died 5 times"}], "stopped": ["forth"],
        },
        "warnings": [
            "sandbox layer landlock is waived, but this host can give it: remove the waiver",
            "this host is not what was sealed: changed x", "measure is `warn`",
        ],
        "audit": {"problem": "its disk is full", "dropped": 3},
    }  # fmt: skip
    found = list(of_status(bad, {"secondary": 3}))
    assert severities(found) == [WARNING, PROBLEM, WARNING, PROBLEM, WARNING, WARNING, PROBLEM, WARNING]
    assert {one.subject for one in found} == {
        "lock", "third", "forth", "secondary", "waiver", "boot token", "audit log"
    }  # fmt: skip
    assert all(one.sentence.isprintable() for one in found)


def test_processes_that_a_disk_holds_and_components_that_are_not_well() -> None:
    def component(name: str, fails: int = 0, ready: bool | None = None) -> dict[str, Any]:
        return {"name": name, "fails": fails, "ready": ready}

    loops: list[dict[str, Any]] = [
        {"name": "secondary", "stuck": {"where": "folio_wait_bit", "for_s": 3.0}, "disk_wait": None},
        {"name": "forth", "stuck": None, "disk_wait": {"where": None, "for_s": 90.0}},
        {"name": "third", "components": [component("good", ready=True), component("unasked"), component("bad", 3)]},
        {"name": "third.kettle", "components": [component("kettle", ready=False)]},
    ]
    found = list(of_processes(loops))
    assert severities(found) == [PROBLEM, PROBLEM, WARNING, WARNING]
    assert [one.subject for one in found] == ["secondary", "forth", "third.bad", "third.kettle"]
    assert found[-1].remedy == "tlsrt-supervisor logs third.kettle"


def test_the_command_of_a_sentence_is_its_remedy() -> None:
    told = "it is not the manifest that was approved: look at it with `tlsrt-supervisor component diff third/kettle`"
    found = list(of_permissions([("third/kettle", told), ("x", "run `chmod 0600 /x`"), ("y", "`it` is wrong")]))
    assert [one.remedy for one in found] == [
        "tlsrt-supervisor component diff third/kettle", "chmod 0600 /x", "tlsrt-supervisor check",
    ]  # fmt: skip


def test_a_backup_is_advised_for_lost_keys_and_state_alone() -> None:
    lost = "cannot read it: No such file or directory"
    subjects = ("door's key", "master_key", "state", "door.client_ca_key", "boot token", "third/kettle")
    remedies = {one.subject: one.remedy for one in of_permissions((what, lost) for what in subjects)}
    assert [what for what in subjects if "backup restore" in remedies[what]] == list(subjects[:4])
    assert remedies["boot token"] == "tlsrt-supervisor seal"
    assert remedies["third/kettle"] == "tlsrt-supervisor check"


def test_deaths_are_counted_by_process() -> None:
    events: list[dict[str, Any]] = [
        {"name": "died", "subject": "third", "at": NOW.isoformat()},
        {"name": "died", "subject": "third", "at": (NOW - timedelta(hours=3)).isoformat()},
        {"name": "ended", "subject": "third", "at": NOW.isoformat()},
        {"dropped": 1},
    ]
    assert deaths_in(events, NOW - timedelta(hours=1)) == {"third": 1}


def test_a_host_that_does_not_run_is_looked_at_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "host"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC) - timedelta(days=390))
    (folder / "server.key").chmod(0o644)
    load_config(folder / "tlsrt.yaml").boot_token.chmod(0o644)  # as on a host of the system: its service reads it
    assert main(["doctor", "--json", "--config", str(folder / "tlsrt.yaml")]) == EX_FAILED
    document = json.loads(capsys.readouterr().out)
    assert not document["running"] and all(one["remedy"] for one in document["findings"])
    found = {one["subject"]: one for one in document["findings"]}
    assert found["door certificate"]["severity"] == WARNING
    assert found["door's key"]["remedy"] == f"chmod 0600 {folder / 'server.key'}"
    assert "boot token" not in found
    assert {"backup", "audit log"} <= set(found)
    ages = {one["what"]: one for one in document["ages"]}
    assert {"door certificate", "client CA", "master_key", "door's key", "boot token"} == set(ages)
    assert ages["master_key"]["ends"] is None and ages["master_key"]["begins"] is not None
    note_verified(load_config(folder / "tlsrt.yaml"), datetime.now(UTC))
    main(["doctor", "--config", str(folder / "tlsrt.yaml")])
    lines = capsys.readouterr().out.splitlines()
    assert not any("audit verify" in line for line in lines)
    assert lines[-1].endswith("the host does not run, so less could be looked at")
    assert lines[0].startswith(PROBLEM), "what matters first"


def test_ages_of_keys_and_certificates_what_ends_first_at_the_top() -> None:
    clients: list[dict[str, Any]] = [
        {"name": "kiosk\x1b", "certificates": [{"ends_ms": int((NOW - timedelta(days=1)).timestamp() * 1000)}]},
        {"name": "gone", "certificates": [{"ends_ms": 1}], "revoked_ms": 1}, {"name": "listed", "is_listed": True},
    ]  # fmt: skip
    door = Age("door certificate", NOW - timedelta(days=3), NOW + timedelta(days=40))
    ages = [Age("master_key", NOW - timedelta(hours=2), None), door, *client_ages(clients)]
    head, *rows = age_lines([one.document() for one in ages], NOW)
    assert head.split() == ["KEY", "OR", "CERTIFICATE", "AGE", "ENDS", "IN", "ENDS"]
    assert [" ".join(row.split()) for row in rows] == [
        r"client kiosk\x1b - ended 2026-11-27 12:00 UTC",
        "door certificate 3 d 0 h 40 d 0 h 2027-01-07 12:00 UTC",
        "master_key 2 h 0 min - -",
    ]


def test_the_kernel_says_whether_its_clock_is_held() -> None:
    assert is_clock_synchronised() in (True, False, None)
