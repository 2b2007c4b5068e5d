"""Events of a whole host: on their way to components and clients, and to whoever follows at the control socket."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.config.bundle import write_bundle
from tlsrt.errors import EX_USAGE, CallError, Denied, Rejected
from tlsrt.supervisor.events.catalog import EVENTS as CATALOG

LISTENER, STRANGER = "third/script", "forth/script"
EVENTS = "primary/events"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request,
        components={
            address: {"class": "captured.script:Script", "process": "shared"} for address in (LISTENER, STRANGER)
        },
        policy={
            f"client/admin -> {LISTENER}": "*",
            f"client/admin -> {STRANGER}": "*",
            f"client/admin -> {EVENTS}": "*",
            f"{LISTENER} -> {EVENTS}": ["recent", "lifecycle"],
        },
        packages=[PACKAGE],
    )


@pytest.fixture
def client(host: RunningHost) -> Iterator[Client]:
    with host.client() as made:
        yield made


def heard_until(stream: Iterator[dict[str, Any]], since: int, name: str, subject: str) -> list[dict[str, Any]]:
    """Return what is heard of what happened after `since`: what was before may still be on its way."""
    heard: list[dict[str, Any]] = []
    for event in stream:
        if event.get("seq", since) <= since:
            continue
        heard.append(event)
        if (event.get("name"), event.get("subject")) == (name, subject):
            return heard
    raise AssertionError(f"no {name} of {subject}: {heard}")


def steps(events: list[dict[str, Any]], subject: str) -> list[str]:
    """Return what happened to one process; that it was slow or suspect is the machine's, which may be busy."""
    mine = (event for event in events if event.get("subject") == subject)
    return [event["name"] for event in mine if event["kind"] != "health"]


def kept(host: RunningHost, *options: str) -> list[dict[str, Any]]:
    done = host.cli("events", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def id_of(client: Client) -> str:
    session = client.session_info["session"]
    return session if isinstance(session, str) else bytes(session).hex()


BACK = ["died", "backoff", "spawned", "attested", "active"]


def test_a_component_hears_another_loop_die_and_come_back_also_after_the_authority_died(
    host: RunningHost, client: Client
) -> None:
    stream = client.stream(LISTENER, "hear", "lifecycle", timeout_s=120.0)
    assert "after" in next(stream)
    since = kept(host)[-1]["seq"]
    host.respawn("secondary")
    heard = heard_until(stream, since, "active", "secondary")
    assert steps(heard, "secondary") == BACK
    assert not [event for event in heard if "dropped" in event]
    host.respawn("authority")
    with host.client() as again:  # an authority that comes again ends the connections of clients
        stream = again.stream(LISTENER, "hear", "lifecycle", timeout_s=120.0)
        assert "after" in next(stream)
        since = kept(host)[-1]["seq"]
        host.respawn("secondary")
        later = heard_until(stream, since, "active", "secondary")
        assert steps(later, "secondary") == BACK
        assert steps(again.call(EVENTS, "recent", heard[-1]["seq"]), "authority") == [*BACK[:4], "epoch", "active"]
    host.until(lambda _: later[-1] in kept(host), "the last one that was heard")
    everything = kept(host)
    assert all(event in everything for event in (*heard, *later))  # they are the very same


def test_without_a_policy_line_a_component_hears_nothing(host: RunningHost, client: Client) -> None:
    with pytest.raises((Denied, Rejected)):
        next(client.stream(STRANGER, "hear", "lifecycle"))


def test_a_policy_line_for_one_kind_is_none_for_another(host: RunningHost, client: Client) -> None:
    stream = client.stream(LISTENER, "hear", "session")
    with pytest.raises((Denied, Rejected)):
        list(stream)


def test_a_client_may_subscribe_to_sessions(host: RunningHost, client: Client) -> None:
    stream = client.stream(EVENTS, "session", timeout_s=60.0)
    assert "after" in next(stream)
    with host.client() as other:
        session = id_of(other)[:8]
    heard: list[dict[str, Any]] = []
    while "session_closed" not in [event["name"] for event in heard]:
        heard += [event for event in [next(stream)] if event["fields"].get("session") == session]
    assert [event["name"] for event in heard] == ["session_opened", "session_closed"]
    assert all(event["subject"] == "client/admin" and event["kind"] == "session" for event in heard)


def tlsrt(host: RunningHost, *arguments: str) -> list[str]:
    return [str(host.python), "-I", "-B", "-m", "tlsrt.channels.cli.main", "--bundle", str(host.base / "c"), *arguments]


def test_the_command_of_a_client_follows_over_the_death_of_primary(host: RunningHost) -> None:
    write_bundle(host.base / "c", host.bundle("admin"))
    since = kept(host)[-1]["seq"]
    command = tlsrt(host, "events", "--follow", "--json", "--kind", "lifecycle", "--since", str(since))
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=host.base) as process:
        assert process.stdout is not None
        told = (json.loads(line) for line in process.stdout)
        host.respawn("primary")
        heard = heard_until(told, since, "active", "primary")
        assert steps(heard, "primary") == BACK
        assert not [event for event in heard if "dropped" in event]
        everything = kept(host)
        assert all(event in everything for event in heard)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    done = subprocess.run(tlsrt(host, "events", "--kind", "health"), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(" health " in line for line in done.stdout.splitlines())


def test_who_is_turned_away_or_revoked_is_told(host: RunningHost) -> None:
    since = kept(host)[-1]["seq"]
    with socket.create_connection((host.config.door.host, host.config.door.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while stranger.recv(1000):
            continue
    assert host.cli("revoke", "client", "admin").returncode == 0
    assert host.cli("restore", "client", "admin").returncode == 0
    found: dict[str, dict[str, Any]] = {}
    while not {"turned_away", "revocation", "restored"} <= set(found):
        found = {event["name"]: event for event in kept(host, "--since", str(since))}
    assert "last from 127.0.0.1" in found["turned_away"]["sentence"]
    assert found["revocation"]["subject"] == found["restored"]["subject"] == "client/admin"


def test_a_new_primary_knows_what_happened_before_it(host: RunningHost, client: Client) -> None:
    stream = client.stream(LISTENER, "hear", "lifecycle", timeout_s=120.0)
    next(stream)
    since = kept(host)[-1]["seq"]
    host.respawn("primary")
    with pytest.raises(CallError):
        list(stream)  # a stream of a dead Primary ends with an error, not in silence
    with host.client() as again:
        missed: list[dict[str, Any]] = []
        while "active" not in steps(missed, "primary"):
            missed = again.call(EVENTS, "recent", since)
    numbers = [event["seq"] for event in missed]
    assert numbers == list(range(since + 1, numbers[-1] + 1))
    assert steps(missed, "primary")[: len(BACK)] == BACK


def test_events_hold_no_secret(host: RunningHost, client: Client) -> None:
    """A session is named by four bytes of its id; no other bytes of sessions, tokens or keys are there."""
    shown = id_of(client)
    text = host.told(shown[:8])
    assert shown not in text
    for path in (host.config.master_key.path, host.config.boot_token):
        assert path is not None
        assert path.read_bytes().hex()[:16] not in text


def test_what_happened_is_as_the_catalog_says_and_explained(host: RunningHost) -> None:
    found = kept(host)
    assert len({one["name"] for one in found}) > 5
    for one in found:
        assert set(one["fields"]) <= set(CATALOG[one["name"]].example.fields), one
    explained = host.cli("explain", "died")
    assert explained.returncode == 0 and f"What to do: {CATALOG['died'].remedy[:40]}" in explained.stdout
    unknown = host.cli("explain", "dyed")
    assert unknown.returncode == EX_USAGE and "did you mean died" in unknown.stderr


def test_the_command_prints_kinds_ranges_and_the_table(host: RunningHost) -> None:
    everything = kept(host)
    assert [event["seq"] for event in everything] == list(range(everything[0]["seq"], everything[-1]["seq"] + 1))
    some = kept(host, "--kind", "session", "--since", str(everything[5]["seq"]))
    assert {event["kind"] for event in some} == {"session"}
    assert some[0]["seq"] > everything[5]["seq"]
    lines = host.cli("events").stdout.splitlines()
    assert "starting" in lines[0]
    assert "a new epoch" in host.cli("events", "--kinds").stdout
    assert host.cli("events", "--since", "-1").returncode == 64


# The status, again and again


def processes(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    loops = {loop["name"]: loop for loop in document["loops"]}
    return {"supervisor": document["supervisor"], "authority": document["authority"], **loops}


def test_status_follow_has_all_that_status_shows_and_what_each_process_uses(host: RunningHost) -> None:
    command = host.command("status", "--follow", "--json", "--interval", "0.2")
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=host.base) as process:
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    shown = host.status()
    for name, entry in processes(shown).items():
        assert set(processes(second)[name]) == {*entry, "usage"}
        assert processes(first)[name]["usage"] is None
        usage = processes(second)[name]["usage"]
        assert 0 <= usage["cpu_percent"] < 6400
        assert usage["threads"] >= 1
    assert set(second) == set(shown)


def test_top_in_a_pipe_steers_nothing(host: RunningHost) -> None:
    with subprocess.Popen(host.command("top", "--interval", "0.2"), stdout=subprocess.PIPE, cwd=host.base) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(40)]
        process.send_signal(signal.SIGTERM)
    assert sum(line.startswith("PROCESS ") for line in lines) >= 2
    assert all(line.rstrip("\n").isprintable() for line in lines)


def test_plain_top_at_a_terminal_redraws_and_ends_with_q(host: RunningHost) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        host.command("top", "--plain", "--interval", "0.2"), stdin=theirs, stdout=theirs, stderr=theirs, cwd=host.base,
        env=environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while shown.count(b"PROCESS ") < 3:
        shown += os.read(ours, 65536)
    os.write(ours, b"xq")
    while piece := _read_terminal(ours):
        shown += piece
    os.close(ours)
    assert process.wait(20) == 0
    assert shown.count(b"\x1b[H") >= 3
    assert shown.endswith(b"\x1b[?25h")


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the other side has closed it
        return b""
