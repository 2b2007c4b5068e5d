"""What an operator types each day, on one running host."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.reloading_host import EX_CONFIG, PROBED, edit, outcomes, reload, set_loop, state
from hosts.running_host import RunningHost, running

from tlsrt.errors import EX_NOT_RUNNING, EX_UNAVAILABLE, EX_USAGE, CallError


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED)


def test_logs_are_one_stream_and_follow(host: RunningHost) -> None:
    for loop in ("secondary", "third"):
        host.client().call(f"{loop}/probed", "write", f"word of {loop}")
    lines = host.told("word of secondary", "word of third", by=("logs", "-n", "5")).splitlines()
    assert [line.split()[0] for line in lines if "word of" in line] == ["secondary", "third"]
    lines = host.cli("logs", "third", "--since", "1h").stdout.splitlines()
    assert any("word of third" in line for line in lines) and not any("word of secondary" in line for line in lines)
    wrong = host.cli("logs", "thrid")
    assert wrong.returncode == EX_USAGE and "did you mean third?" in wrong.stderr
    command = host.command("logs", "-f", "-n", "1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        try:
            assert following.stdout.readline(), "from here on it follows"
            host.client().call("third/probed", "write", "a first word")
            assert any("a first word" in line for line in following.stdout)
            path = host.config.log_dir / "third.log"
            path.replace(path.with_name("third.log.1"))  # as a restart of the loop does when it is long
            path.write_text("2099-01-01 00:00:00,000 INFO third: a word after\n")
            assert any("a word after" in line for line in following.stdout)
        finally:
            following.kill()


def planned(host: RunningHost) -> dict[str, Any]:
    done = host.cli("reload", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_dry_run_tells_what_the_reload_then_does_and_does_nothing(host: RunningHost) -> None:
    before = state(host)
    assert {one["outcome"] for one in planned(host)["processes"]} == {"unchanged"}
    set_loop(host, "secondary", open_files=100)
    set_loop(host, "third", read=["/etc/hostname"])

    def change(document: dict[str, Any]) -> None:
        document["policy"]["third/* -> secondary/store"] = ["get"]
        del document["policy"]["client/admin -> primary/probed"]
        document["components"]["forth/added"] = {"class": "probed:Probed"}

    edit(host, change)
    plan = planned(host)
    assert state(host) == before
    assert plan["policy"]["added"] == ["third/* -> secondary/store: [get]"]
    assert plan["policy"]["removed"] == ["client/admin -> primary/probed: [*]"]
    assert plan["components"] == {"added": ["forth/added"], "removed": [], "changed": []}
    assert any("not as it was sealed: changed config" in warning for warning in plan["warnings"])
    wanted = {one["name"]: one["outcome"] for one in plan["processes"] if one["name"] != "authority"}
    changed = {name: outcome for name, outcome in wanted.items() if outcome != "unchanged"}
    assert changed == {"secondary": "tightened live", "third": "restarted", "forth.added": "added"}
    lines = host.cli("reload", "--dry-run").stdout.splitlines()
    assert any(line.split()[:4] == ["third", "would", "be", "restarted"] for line in lines)
    assert lines[-1].startswith("a dry run: `tlsrt-supervisor reload` does this")
    assert outcomes(reload(host)) == wanted


def test_a_dry_run_refuses_what_a_reload_refuses(host: RunningHost) -> None:
    good, before = host.config_path.read_text(), state(host)
    edit(host, lambda document: document["door"].update(port=document["door"]["port"] + 1))
    done = host.cli("reload", "--dry-run")
    assert done.returncode == EX_CONFIG and "door.port cannot change while tlsrt runs" in done.stderr
    host.config_path.write_text(good.replace("door:", "dor:"))
    done = host.cli("reload", "--dry-run")
    assert done.returncode == EX_CONFIG and f"{host.config_path}:" in done.stderr
    host.config_path.write_text(good)
    assert state(host) == before
    assert {one["outcome"] for one in planned(host)["processes"]} == {"unchanged"}, "and it goes on"


def test_a_stopped_loop_stays_down_until_it_is_started(host: RunningHost) -> None:
    client, before = host.client(), host.pids()
    done = host.cli("stop", "third")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("third is stopped until `tlsrt-supervisor start third`")
    status = host.status()
    assert next(loop for loop in status["loops"] if loop["name"] == "third")["state"] == "stopped"
    assert status["supervision"]["stopped"] == ["third"] and not status["supervision"]["degraded"]
    assert any("third is stopped by the operator" in line for line in host.cli("status").stdout.splitlines())
    with pytest.raises(CallError):
        client.call("third/probed", "add", 1, timeout_s=2.0)
    assert client.call("secondary/probed", "add", 0, idempotent=True) >= 0
    set_loop(host, "third", read=["/etc/os-release"])
    assert outcomes(reload(host))["third"] == "stopped", "no reload starts it"
    assert host.cli("is-active", "third").returncode == EX_NOT_RUNNING
    assert host.cli("stop", "third").returncode == 0, "twice is once"
    done = host.cli("start", "third")
    assert done.returncode == 0 and done.stdout.startswith("third  active"), done.stderr
    assert client.call("third/probed", "read", "/etc/os-release", idempotent=True) != ""
    assert host.cli("start", "third").stdout.split()[:2] == ["third", "active"], "one that runs stays as it is"
    names = {event["name"] for event in events(host, "--kind", "lifecycle") if event["subject"] == "third"}
    assert {"kept_down", "ended"} <= names
    after = host.pids()
    assert {name for name in before if before[name] != after[name]} == {"third"}


def test_what_cannot_be_stopped_is_one_sentence(host: RunningHost) -> None:
    for name in ("primary", "authority"):
        done = host.cli("stop", name)
        assert done.returncode == EX_USAGE and f"{name} cannot be stopped alone" in done.stderr
    done = host.cli("stop", "third/io")
    assert done.returncode == EX_USAGE and "it runs in third, so name that" in done.stderr
    assert "did you mean forth?" in host.cli("stop", "fort").stderr


def events(host: RunningHost, *options: str) -> list[dict[str, Any]]:
    done = host.cli("events", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_events_by_number_time_and_severity(host: RunningHost) -> None:
    everything = events(host)
    assert events(host, "-n", "3")[-1]["seq"] >= everything[-1]["seq"]
    assert len(events(host, "-n", "3")) == 3
    severe = events(host, "--severity", "warning")
    assert severe and {event["severity"] for event in severe} <= {"warning", "alarm"}
    assert len(events(host, "--since", "1h")) >= len(everything)
    assert events(host, "--until", "1h") == []
    assert events(host, "--since", str(everything[-2]["seq"]))[0]["seq"] == everything[-1]["seq"]
    assert host.cli("events", "--since", "soon").returncode == EX_USAGE
    assert host.cli("events", "-f", "--until", "1h").returncode == EX_USAGE
    title, *lines = host.cli("events", "--timeline").stdout.splitlines()
    assert title.endswith("! alarm") and max(map(len, lines)) <= 120
    assert [line for line in lines if line.startswith("third ") and "o" in line]
    assert host.cli("events", "--timeline", "-f").returncode == EX_USAGE


def test_one_subject_in_detail_and_in_a_word(host: RunningHost) -> None:
    detail = json.loads(host.cli("status", "secondary", "--json").stdout)
    assert detail["process"]["pid"] == host.pids()["secondary"] and detail["uid"] is not None
    assert "secondary/store" in {one["address"] for one in detail["components"]}
    assert any(one["kind"] == "calls" or one["what"] for one in detail["grants"])
    host.kill("secondary")
    host.until(lambda status: host.pids().get("secondary") not in (None, detail["process"]["pid"]), "secondary again")
    lines = host.cli("status", "secondary/store").stdout
    assert "SIGKILL" in lines and lines.startswith("state")
    assert host.cli("status", "secondary/stor").returncode == EX_USAGE
    found = json.loads(host.cli("doctor", "--json").stdout)
    assert found["running"] and all(one["remedy"] for one in found["findings"])
    assert "backup" in {one["subject"] for one in found["findings"]}
    done = host.cli("is-active")
    assert (done.returncode, done.stdout) == (0, "active\n")
    assert host.cli("is-active", "-q", "forth").stdout == ""


def test_a_list_fits_the_terminal_and_a_pipe_has_all(host: RunningHost) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    for options, is_wide in (((), False), (("--wide",), True)):
        command = host.command("component", "list", *options)
        assert subprocess.run(command, stdout=theirs, cwd=host.base, check=False).returncode == 0
        os.write(theirs, b"the end")
        shown = b""
        while b"the end" not in shown:
            shown += os.read(ours, 65536)
        first, *_ = lines = shown.decode().partition("the end")[0].splitlines()
        assert ("UID" in first) is is_wide and any("third/probed" in line for line in lines)
        assert is_wide or max(map(len, lines)) <= 70
    os.close(ours)
    os.close(theirs)
    assert "UID" in host.cli("component", "list").stdout


def test_a_whole_host_comes_back_from_a_backup_that_was_taken_under_load(host: RunningHost) -> None:
    client = host.client()
    client.call("secondary/store", "put", "kept", "before")
    stop = threading.Event()

    def write() -> None:
        with host.client() as writer:
            for number in itertools.count():
                if stop.is_set():
                    return
                writer.call("secondary/store", "put", f"more/{number % 50}", "x" * 200)
                stop.wait(0.05)

    writing = threading.Thread(target=write)
    writing.start()
    file = host.base / "host.backup"
    done = host.cli("backup", "create", str(file))
    stop.set()
    writing.join()
    assert done.returncode == 0, done.stderr
    assert "written with the master_key of this host" in host.cli("backup", "verify", str(file)).stdout
    client.call("secondary/store", "put", "kept", "after")
    assert host.cli("backup", "restore", str(file), "--force").returncode == EX_UNAVAILABLE, "it runs"
    host.stop()
    assert host.cli("backup", "restore", str(file)).returncode == EX_UNAVAILABLE, "there is a host"
    done = host.cli("backup", "restore", str(file), "--force")
    assert done.returncode == 0, done.stderr
    host.start()
    assert host.client().call("secondary/store", "get", "kept") == "before"
    assert host.cli("audit", "verify").returncode == 0
