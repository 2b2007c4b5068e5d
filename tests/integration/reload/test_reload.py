"""A changed configuration is taken while the host runs: live where a process can be changed, else by a new process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import (
    EX_CONFIG,
    assert_one_boundary,
    edit,
    entry_of,
    limit,
    outcomes,
    reload,
    reload_by_command,
    set_loop,
    state,
)
from hosts.running_host import RunningHost

from tlsrt.config.defaults import PROCESSES
from tlsrt.config.init import initialise
from tlsrt.errors import CallError, Denied

FILES = "Max open files"


def test_nothing_has_changed(host: RunningHost) -> None:
    before = state(host)
    report = reload_by_command(host)
    assert set(outcomes(report).values()) == {"unchanged"}
    assert not report["moved"] and report["epoch"] == before["epoch"]
    assert state(host) == before, "no call had to end for this"


def test_tighter_limits_come_from_outside_without_a_restart(host: RunningHost) -> None:
    client, before = host.client(), state(host)
    client.call("secondary/probed", "add", 1)
    assert client.call("secondary/probed", "descriptors", 150) == "done"
    set_loop(host, "secondary", open_files=100)
    report = reload(host)
    assert entry_of(report, "secondary")["outcome"] == "tightened live"
    assert entry_of(report, "secondary")["changed"] == ["limits"]
    assert outcomes(report)["third"] == "unchanged"
    after = state(host)
    assert report["moved"] and report["epoch"] == after["epoch"] == before["epoch"] + 1
    assert {name: pid for name, (pid, _) in after["loops"].items()} == {
        name: pid for name, (pid, _) in before["loops"].items()
    }
    assert after["loops"]["secondary"][1] == entry_of(report, "secondary")["profile"]
    assert limit(after["loops"]["secondary"][0], FILES) == 100
    assert client.call("secondary/probed", "descriptors", 150, idempotent=True) == "OSError: Too many open files"
    assert client.call("secondary/probed", "add", 1, idempotent=True) == 2, "it is the same process"
    assert_one_boundary(host)


def test_what_a_process_cannot_be_given_takes_a_new_one(host: RunningHost) -> None:
    folder = host.base / "shown"
    folder.mkdir(mode=0o755)
    (folder / "text").write_text("seen")
    client, before = host.client(), state(host)
    assert "seen" not in client.call("third/probed", "read", str(folder / "text"))
    set_loop(host, "third", read=[str(folder)])
    report = reload(host)
    entry = entry_of(report, "third")
    assert entry["outcome"] == "restarted" and entry["took_ms"] > 0 and "read" in entry["changed"]
    after = assert_one_boundary(host)
    third = next(loop for loop in after["loops"] if loop["name"] == "third")
    assert third["pid"] != before["loops"]["third"][0] and third["sandbox"]["profile"] == entry["profile"]
    assert {name for name, word in outcomes(report).items() if word == "restarted"} == {"third"}
    assert client.call("third/probed", "read", str(folder / "text"), idempotent=True) == "seen"


def test_looser_limits_take_a_new_process(host: RunningHost) -> None:
    set_loop(host, "secondary", open_files=300)
    report = reload(host)
    assert entry_of(report, "secondary")["outcome"] == "restarted"
    assert entry_of(report, "primary")["outcome"] == "unchanged", "what others may open takes no room from it"
    assert host.client().call("secondary/probed", "descriptors", 150) == "done"
    assert_one_boundary(host)


def test_a_new_primary_keeps_the_listeners_and_clients_come_back(host: RunningHost) -> None:
    client = host.client()
    assert client.call("secondary/probed", "add", 0) >= 0
    set_loop(host, "primary", memory_mb=700)
    report = reload(host)
    assert {name for name, word in outcomes(report).items() if word != "unchanged"} == {"primary"}
    assert client.call("secondary/probed", "add", 0, idempotent=True) >= 0
    assert_one_boundary(host)


def test_answers_of_a_loop_that_is_drained_still_come(host: RunningHost) -> None:
    client = host.client()
    answers: list[object] = []
    call = threading.Thread(target=lambda: answers.append(client.call("secondary/probed", "held", 0.5)))
    call.start()
    while host.loop("primary")["sessions"] == 0:  # its session is there; the call follows at once
        continue
    assert client.call("secondary/probed", "add", 0) >= 0  # by the same way, behind it
    set_loop(host, "secondary", memory_mb=400 + len(host.console))
    set_loop(host, "secondary", read=[str(host.base / "d" / "ca.crt")])
    report = reload(host)
    call.join()
    assert entry_of(report, "secondary")["outcome"] == "restarted"
    assert answers == ["done"]


def test_sighup_does_the_same_and_the_console_tells(host: RunningHost) -> None:
    seen, epoch = len(host.console), state(host)["epoch"]
    set_loop(host, "forth", memory_mb=300)
    assert host.process is not None
    host.process.send_signal(1)
    assert host.wait_for(r"^reload +done +forth +tightened live", after=seen)
    assert host.wait_for(rf"^reload +done +epoch {epoch + 1}$", after=seen)
    assert_one_boundary(host)


def test_a_waiver_concerns_every_process_and_shows(host: RunningHost) -> None:
    """The authority comes again under its new profile as well, and clients find back."""
    text, before, client = host.config_path.read_text(), state(host), host.client()
    edit(host, lambda document: document.setdefault("sandbox", {}).update(waive={"securebits": "for this test"}))
    report = reload(host)
    assert set(outcomes(report).values()) == {"restarted"}
    assert any("securebits is waived: for this test" in warning for warning in report["warnings"])
    document = assert_one_boundary(host)
    assert document["authority"]["pid"] != before["authority"]
    assert all("securebits" in loop["sandbox"]["waived"] for loop in document["loops"])
    assert any("securebits" in warning for warning in document["warnings"])
    assert client.call("third/probed", "add", 1, idempotent=True) == 1
    host.config_path.write_text(text)
    assert set(outcomes(reload(host)).values()) == {"restarted"}
    document = assert_one_boundary(host)
    assert not any(loop["sandbox"]["waived"] for loop in document["loops"])
    assert not any("securebits" in warning for warning in document["warnings"])


def test_two_at_once_come_one_after_the_other(host: RunningHost) -> None:
    epoch = state(host)["epoch"]
    set_loop(host, "third", memory_mb=410)
    reports: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: reports.append(reload(host))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report["moved"] for report in reports) == [False, False, True], "whoever came later found it done"
    assert {report["epoch"] for report in reports} == {epoch + 1}


def test_a_policy_line_comes_and_goes_without_a_restart(host: RunningHost) -> None:
    client, before, line = host.client(), state(host), "client/admin -> third/probed"
    assert client.call("third/probed", "add", 0) >= 0

    def set_methods(methods: list[str] | str | None) -> dict[str, Any]:
        edit(host, lambda document: document["policy"].pop(line, None))
        if methods is not None:
            edit(host, lambda document: document["policy"].update({line: methods}))
        report = reload(host)
        assert report["moved"] and report["policy"] == "changed"
        assert set(outcomes(report).values()) == {"unchanged"}
        return report

    text = host.config_path.read_text()
    set_methods(["read"])
    with pytest.raises(CallError):
        client.call("third/probed", "add", 1, timeout_s=2, idempotent=True)
    assert client.call("third/probed", "read", "/nonexistent", idempotent=True)
    set_methods(None)
    host.until(lambda document: "third/probed" not in client.rights, "that the right is gone")
    with pytest.raises(Denied):
        client.call("third/probed", "read", "/nonexistent")
    set_methods("*")
    assert client.call("third/probed", "add", 0, idempotent=True) >= 0
    assert {name: pid for name, (pid, _) in state(host)["loops"].items()} == {
        name: pid for name, (pid, _) in before["loops"].items()
    }
    host.config_path.write_text(text)
    assert_one_boundary(host)


def test_a_policy_that_fits_no_token_is_refused_before_anything_changes(host: RunningHost) -> None:
    text, before = host.config_path.read_text(), state(host)
    methods = [f"method_{number}_{'x' * 48}" for number in range(250)]
    try:
        edit(host, lambda document: document["policy"].update({"third/probed -> */*": methods}))
        [sentence] = reload(host, code=EX_CONFIG)["said"]
        assert sentence.startswith("the policy gives third/probed too much for one token")
        assert state(host) == before
    finally:
        host.config_path.write_text(text)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda document: document["door"].update(max_connections=9), "door.max_connections"),
        (lambda document: document["clients"].update(more={"fingerprint": "ab" * 32}), "clients.more"),
        (lambda document: document["limits"].update(epoch_s=77), "limits.epoch_s"),
        (lambda document: document.update(measure="strict"), "measure"),
        (lambda document: document["sandbox"].update(uid_base=700000), "sandbox.uid_base"),
        (lambda document: document["sandbox"].update(waive={"cgroup": "just so"}), "sandbox.waive.cgroup"),
    ],
)
def test_what_needs_a_restart_is_named_and_nothing_changes(host: RunningHost, change: Any, named: str) -> None:
    text, before = host.config_path.read_text(), state(host)
    try:
        edit(host, lambda document: document.setdefault("sandbox", {}) and None)
        edit(host, change)
        set_loop(host, "forth", memory_mb=200)
        [sentence] = reload(host, code=EX_CONFIG)["said"]
        assert named in sentence and "restart" not in named and "stop tlsrt and start it again" in sentence
        assert state(host) == before
    finally:
        host.config_path.write_text(text)


def test_a_wrong_file_keeps_the_old_state_and_says_every_problem(host: RunningHost) -> None:
    text, before = host.config_path.read_text(), state(host)
    try:
        host.config_path.write_text(f"{text}\nnonsense: 1\nmore: 2\n")
        said = reload_by_command(host, code=EX_CONFIG)["said"]
        assert said == reload(host, code=EX_CONFIG)["said"]
        assert len(said) == 2 and all(str(host.config_path) in sentence for sentence in said)
        asked = host.cli("status", "--json")
        assert asked.returncode == 0 and json.loads(asked.stdout)["loops"], asked.stderr
        assert "warning" in asked.stderr and "nonsense" in asked.stderr
        host.config_path.write_text("loops: [")
        assert len(reload(host, code=EX_CONFIG)["said"]) == 1
    finally:
        host.config_path.write_text(text)
    assert state(host) == before
    set_loop(host, "third", read=["/nonexistent/folder"])
    try:
        [sentence] = reload(host, code=EX_CONFIG)["said"]
        assert "loops.third" in sentence and "/nonexistent/folder" in sentence
        assert state(host) == before
    finally:
        host.config_path.write_text(text)


def test_the_supervisor_reads_the_file_itself(host: RunningHost) -> None:
    """What the command line would refuse before it asks, a signal does not."""
    text, before, seen = host.config_path.read_text(), state(host), len(host.console)
    try:
        host.config_path.write_text(f"{text}\nnonsense: 1\n")
        assert host.process is not None
        host.process.send_signal(1)
        assert host.wait_for("^reload +refused .*unknown key 'nonsense'", after=seen)
        assert state(host) == before
    finally:
        host.config_path.write_text(text)


def test_status_shows_profiles_and_epochs(host: RunningHost) -> None:
    words = "in every loop, under the profiles of the configuration"
    document = host.until(lambda now: f"epoch {now['authority']['epoch']} {words}" in host.cli("status").stdout, words)
    shown = host.cli("status", "--wide").stdout
    for loop in document["loops"]:
        assert loop["sandbox"]["profile"][:8] in shown


@pytest.mark.shared_door
def test_the_lines_for_people(host: RunningHost) -> None:
    set_loop(host, "forth", memory_mb=290)
    done = host.cli("reload")
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:6]] == [*PROCESSES]
    assert "tightened live  (limits)  profile " in lines[4]
    assert lines[-1].startswith("epoch ")


def test_no_host_no_reload(tmp_path: Path) -> None:
    initialise(tmp_path / "other", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    command = [sys.executable, "-m", "tlsrt.supervisor.cli.main", "reload"]
    done = subprocess.run(
        [*command, "--config", str(tmp_path / "other" / "tlsrt.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 3 and "is not running" in done.stderr
