"""`tlsrt-supervisor console` as operators type it: switched on in one step, with a role; who uses the link is told."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt.channels.cli.main import main as tlsrt
from tlsrt.config.console_page import digest_of, read_page

DROP_IN = "50-console.yaml"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


def records(host: RunningHost, kind: str) -> list[dict[str, Any]]:
    lines = host.told(f'"kind": "{kind}"', by=("audit", "tail", "-n", "500", "--json")).splitlines()
    return [one for one in map(json.loads, lines) if one.get("kind") == kind]


def waiting(host: RunningHost, name: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Begin to wait for who uses a link; return the command, and what it has printed of the link."""
    words = host.command("console", name, "--wait", "--json")
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=host.base)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def enrol(host: RunningHost, link: str, name: str) -> int:
    code = link.partition("#")[2]
    return tlsrt(("enroll", f"127.0.0.1:{host.port}", code, "--bundle", str(host.base / f"{name}.tlsrt")))


def test_at_a_terminal_it_asks_and_no_changes_nothing(host: RunningHost) -> None:
    """The first one: the console is off."""
    ours, theirs = os.openpty()
    words = host.command("console", "anna")
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=host.base)
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    os.write(ours, b"n\n")
    assert process.wait(30) == 78
    os.close(ours)
    assert b"the console is off. To switch it on:" in said and b"console: true" in said
    assert not list(host.config_path.parent.glob("*.d/*")) and host.config.door.console is False


def test_a_console_that_is_off_says_what_to_type_and_that_switches_it_on(host: RunningHost) -> None:
    done = host.cli("console", "anna")
    assert done.returncode == 78 and "`tlsrt-supervisor console --enable`" in done.stderr and DROP_IN in done.stderr
    assert "anna" not in host.cli("client", "list").stdout and host.config.door.console is False
    done = host.cli("console", "anna", "--role", "operator", "--enable", "--json")
    assert done.returncode == 0, done.stderr
    link = json.loads(done.stdout)
    assert link["allow"]["third/operate"] == ["targets", "restart", "pause", "resume", "lock", "release"]
    assert link["allow"]["third/status"] == ["*"] and "secondary/logs" not in link["allow"] and link["missing"] == []
    assert (host.config_path.parent / f"{host.config_path.name}.d" / DROP_IN).read_text().endswith("console: true\n")
    assert host.cli("seal", "--diff").returncode == 0 and host.loop("third.operate")["state"] == "active"
    [served] = records(host, "page_served")
    assert served["detail"]["page"] == link["page"] == digest_of(read_page())
    assert records(host, "client_added")[-1]["detail"]["page"] == link["page"]


def test_a_viewer_gets_what_looks_and_a_role_and_lines_add_up(host: RunningHost) -> None:
    link = json.loads(host.cli("console", "eve", "--json").stdout)
    assert "third/operate" not in link["allow"] and link["allow"]["third/status"] == ["*"]
    words = ("--role", "viewer", "--allow", "third/operate: [targets, lock]", "--json")
    assert json.loads(host.cli("console", "max", *words).stdout)["allow"]["third/operate"] == ["targets", "lock"]
    assert host.cli("console", "tim", "--role", "king").returncode != 0


def test_who_uses_the_link_is_told_and_who_comes_second_is_an_event(host: RunningHost) -> None:
    process, link = waiting(host, "ben")
    assert enrol(host, link["link"], "ben") == 0
    assert process.stdout is not None
    event = json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.wait(30) == 0 and event["name"] == "client_enrolled" and event["subject"] == "client/ben"
    listed = json.loads(host.cli("client", "list", "--json").stdout)["clients"]
    [fingerprint] = [one["certificates"][0]["fingerprint"] for one in listed if one["name"] == "ben"]
    assert event["fields"]["fingerprint"].replace(":", "").lower() == fingerprint.replace(":", "").lower()
    assert event["fields"]["address"] == "127.0.0.1"
    assert enrol(host, link["link"], "thief") == 77
    told = [json.loads(one) for one in host.told("join_code_reused").splitlines()]
    [second] = [one for one in told if one.get("name") == "join_code_reused"]
    assert (second["kind"], second["subject"]) == ("security", "client/ben")
    assert second["fields"]["address"] == "127.0.0.1"


def test_a_link_that_is_cancelled_ends_the_wait(host: RunningHost) -> None:
    process, link = waiting(host, "kim")
    assert host.cli("client", "revoke", "kim").returncode == 0
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["name"] == "revocation"
    process.stdout.close()
    assert process.wait(30) == 1 and enrol(host, link["link"], "kim") == 77
