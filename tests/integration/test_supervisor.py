"""The supervisor over real processes that follow a script: order, deaths, respawns, attacks on its channels, ends."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.scripted_host import PATIENCE_S, ScriptedHost, Start, pids_of, starting, wait_until_gone, word_of
from probes.descriptors import descriptors_of, lasting

from tlsrt.supervisor.control.client import ControlClient

LOAD_S = 8.0  # how late a busy machine may be beside what is promised


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starting(tmp_path)


# Start and stop


def test_loops_become_active_in_order_and_stop_in_reverse(start: Start) -> None:
    running = start()
    running.wait("^ready")
    assert word_of(running.lines, "active") == ["primary", "secondary", "third"]
    assert running.wait("^door").startswith("door          open    tls://127.0.0.1:0")
    assert running.stop() == 0
    assert word_of(running.lines, "stopped") == ["third", "secondary", "primary", "authority", "supervisor"]
    assert not (running.folder / "run" / "control.sock").exists()


def test_a_later_loop_waits_for_an_earlier_one(start: Start) -> None:
    running = start(primary="once:inactive", ready_timeout_s="1")
    running.wait("^ready")
    assert word_of(running.lines, "active") == ["primary", "secondary", "third"]
    assert running.wait("primary +died").endswith("not active in 1 s; again at once")
    assert [line for line in running.log("secondary") if line == "activate"] == ["activate"]
    assert running.stop() == 0


def test_everyone_learns_when_primary_is_up_and_down(start: Start) -> None:
    running = start(primary="once:crash")
    running.wait("^ready")
    running.wait("primary +active", 2)
    assert running.stop() == 0
    for name in ("secondary", "third"):
        words = [line for line in running.log(name) if line.startswith("primary")]
        assert words[-1] == "primary_up 4"
        assert "primary_down" in words or len(words) == 1  # one that came later knows only the second


def test_status_tells_what_is_there(start: Start) -> None:
    running = start()
    running.wait("^ready")
    status = running.status()
    assert status["supervisor"]["pid"] == running.process.pid
    assert status["authority"]["state"] == "active"
    assert status["authority"]["epoch"] == 7
    assert status["door"] == {"host": "127.0.0.1", "port": 0, "locked": False}
    assert status["warnings"] == ["a waived layer", "a warning"]
    assert [loop["state"] for loop in status["loops"]] == ["active"] * 3
    for loop in status["loops"]:
        assert os.readlink(f"/proc/{loop['pid']}/exe") == os.path.realpath(sys.executable)
        assert loop["memory_kib"] > 100
        assert loop["sandbox"]["layers"] == ["uid", "no_new_privs"]
        assert loop["sandbox"]["waived"] == {"net_namespace": "a test"}
    assert running.stop() == 0


def test_stop_over_the_control_socket_answers_and_waits_for_the_end(start: Start) -> None:
    running = start()
    running.wait("^ready")
    pids = list(pids_of(running.status()).values())
    with ControlClient(running.folder / "run") as client:
        assert client.ask("stop") == {"stopping": True, "pid": running.process.pid}
        assert client.wait_for_end(PATIENCE_S)
    assert running.end()[0] == 0
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


@pytest.mark.parametrize("deed", ["command", "listen"])
def test_a_loop_that_reaches_the_control_socket_is_denied_though_its_uid_may_ask(start: Start, deed: str) -> None:
    running = start(third=deed)
    running.wait("^ready")
    while not any(line.startswith("answer") for line in running.log("third")):
        assert not running.status()["supervisor"]["stopping"]
    assert 'answer {"error":"denied"}' in running.log("third")
    assert not running.status()["supervisor"]["stopping"]
    assert running.stop() == 0


def test_a_loop_that_ignores_everything_is_killed_at_the_deadline(start: Start) -> None:
    running = start(secondary="stubborn")
    running.wait("^ready")
    assert running.stop() == 0
    killed = [line for line in running.lines if line.startswith("secondary     killed")]
    milliseconds = int(re.findall(r"after (\d+) ms", killed[0])[0])
    assert 750 <= milliseconds < 5000
    assert word_of(running.lines, "stopped") == ["third", "primary", "authority", "supervisor"]


def test_a_second_interrupt_kills_at_once(start: Start) -> None:
    running = start(third="stubborn", stop_timeout_s="30")
    running.wait("^ready")
    running.process.send_signal(signal.SIGINT)
    while not running.status()["supervisor"]["stopping"]:
        continue
    began = time.monotonic()
    assert running.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 4 + LOAD_S
    assert "third" in word_of(running.lines, "killed")


def test_a_loop_that_is_still_starting_does_not_hold_up_the_end(start: Start) -> None:
    running = start(third="unsealed", stop_timeout_s="30")
    running.wait("secondary +active")
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 4 + LOAD_S


def test_a_second_start_is_refused_with_the_pid_of_the_first(start: Start) -> None:
    first = start()
    first.wait("^ready")
    code, errors = start(lock_wait_s="0.1").end()
    assert code == 69
    assert errors.startswith(f"tlsrt-supervisor: tlsrt is already running here (pid {first.process.pid}): ")
    assert first.status()["loops"][0]["state"] == "active"
    assert first.stop() == 0
    second = start()
    second.wait("^ready")
    assert second.stop() == 0


def test_a_killed_supervisor_leaves_nobody(start: Start) -> None:
    running = start(secondary="stubborn")
    running.wait("^ready")
    pids = list(pids_of(running.status()).values())
    running.process.kill()
    began = time.monotonic()
    wait_until_gone(pids)
    assert time.monotonic() - began < 1.0 + LOAD_S
    again = start()
    again.wait("^ready")
    assert again.stop() == 0


# Deaths


# Attacks over the life channel


ATTACKS = {
    "garbage": "life protocol: (not_msgpack|not_a_message|unknown_message);",
    "oversize": "life protocol: (truncated|bad_packet_size);",
    "nested": "life protocol: (not_msgpack|not_a_message);",
    "again": "life protocol: wrong_state;",
    "as_supervisor": "life protocol: wrong_direction;",
    "flood": "life protocol: flood;",
    "ready_first": "life protocol: wrong_state;",
    "close_life": "closed its life channel;",
    "empty": "closed its life channel;",
}


def test_whoever_breaks_the_life_protocol_ends_alone(start: Start) -> None:
    """All of them at once, beside three honest loops."""
    running = start(**{deed: f"once:{deed}" for deed in ATTACKS})
    running.wait("^ready")
    for deed, reason in ATTACKS.items():
        assert re.search(f" died +{reason}", running.wait(f"^{deed} +died"))
        running.wait(f"^{deed} +active", 1 if deed == "ready_first" else 2)
    assert sorted(word_of(running.lines, "died")) == sorted(ATTACKS)
    assert {loop["state"] for loop in running.status()["loops"]} == {"active"}
    assert running.stop() == 0


def test_descriptors_attached_to_a_record_never_arrive(start: Start) -> None:
    running = start(third="descriptors")
    running.wait("^ready")
    while "sent" not in running.log("third") or running.loop("third")["frames"]["in"] != 5:
        continue
    held = descriptors_of(running.process.pid)
    assert held[0].startswith("pipe:")
    assert [number for number, link in held.items() if link == held[0]] == [0]
    assert running.stop() == 0


def test_respawns_leak_no_descriptor(start: Start) -> None:
    running = start()
    running.wait("^ready")
    before = len(lasting(running.process.pid))
    for number in range(2, 6):
        os.kill(pids_of(running.status())["secondary"], signal.SIGKILL)
        running.wait("secondary +active", number)
    assert len(lasting(running.process.pid)) <= before + 1
    assert running.stop() == 0


# The authority


def test_an_authority_that_dies_comes_again_and_learns_who_was_attested(start: Start) -> None:
    running = start()
    running.wait("^ready")
    before = pids_of(running.status())
    os.kill(before["authority"], signal.SIGKILL)
    running.wait("authority +died +signal SIGKILL; again at once")
    running.wait("authority +active")
    after = pids_of(running.status())
    assert {name for name in before if before[name] != after[name]} == {"authority"}
    assert running.stop() == 0
    office = running.log("authority")
    second = office[office.index("boot 10", 1) :]
    assert second[1] == "trust 3"
    assert {"attested primary 1 8 0", "attested secondary 2 8 0", "attested third 3 8 0"} <= set(second)


def test_an_authority_that_refuses_ends_the_start_with_its_sentences(start: Start) -> None:
    code, errors = start(authority="refuse").end()
    assert code == 78
    assert errors.splitlines() == [
        "tlsrt-supervisor: the boot token is wrong: put the right one back",
        "tlsrt-supervisor: and so is the key",
    ]


def test_an_authority_that_breaks_the_office_protocol_is_replaced(start: Start) -> None:
    running = start(authority="garbage")
    running.wait("authority +died +authority protocol: not_msgpack", 2)
    assert running.stop() == 0


def test_an_authority_that_never_boots_is_replaced(start: Start) -> None:
    running = start(authority="silent", ready_timeout_s="1")
    running.wait("authority +died +not booted in 1 s")
    assert running.stop() == 0


def test_a_loop_that_offends_the_authority_ends(start: Start) -> None:
    running = start(authority="offended")
    assert "offence: bad_fields" in running.wait("third +died")
    assert running.stop() == 0


# A host that cannot confine


def test_a_loop_without_its_sandbox_ends_the_start_in_one_sentence(start: Start) -> None:
    code, errors = start(primary="no_sandbox").end()
    assert code == 69
    assert "net_namespace" in errors
    assert "Operation not permitted" in errors
    assert len(errors.splitlines()) == 1


def test_an_authority_without_its_sandbox_ends_the_start_in_one_sentence(start: Start) -> None:
    code, errors = start(authority="no_sandbox").end()
    assert code == 69
    assert "sandbox layer uid: Operation not permitted" in errors
    assert len(errors.splitlines()) == 1


# Events


def followed(running: ScriptedHost) -> Iterator[dict[str, Any]]:
    """Follow from now on; the stream ends with the supervisor, so that nobody waits without end."""
    client = ControlClient(running.folder / "run")
    stream = client.follow("events", follow=True)
    first = next(stream)  # the request has been answered

    def rest() -> Iterator[dict[str, Any]]:
        with client:
            yield first
            yield from stream

    return rest()


def steps(events: list[dict[str, Any]], subject: str) -> list[str]:
    """Return what happened to one process; that it was slow or suspect is the machine's, which may be busy."""
    mine = (event for event in events if event["subject"] == subject)
    return [event["name"] for event in mine if event["kind"] != "health"]


def test_events_tell_every_death_and_go_on_through_it_to_the_end(start: Start) -> None:
    running = start()
    running.wait("^ready")
    stream = followed(running)
    for count, name in enumerate(("secondary", "primary", "authority"), 1):
        os.kill(pids_of(running.status())[name], signal.SIGKILL)
        running.wait(f"{name} +active", 1 if name == "authority" else 2)
        running.wait("died", count)
    assert running.stop() == 0
    events = list(stream)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["boot"] for event in events} == {events[0]["boot"]}
    assert (events[0]["name"], events[-1]["name"]) == ("starting", "stopped")
    life, end = ["spawned", "attested", "active"], ["draining", "ending", "ended"]
    again = ["died", "backoff"]
    for name in ("primary", "secondary"):
        assert steps(events, name) == [*life, *again, *life, *end]
    assert steps(events, "third") == [*life, *end]
    birth = [*life[:2], "epoch", "active"]
    assert steps(events, "authority") == [*birth, *again, *birth, "ended"]
    died = next(event for event in events if event["name"] == "died")
    assert (died["subject"], died["kind"], died["severity"]) == ("secondary", "lifecycle", "warning")
    assert died["sentence"].startswith("process exited unexpectedly: ") and "SIGKILL" in died["sentence"]
    assert died["fields"]["pid"] > 0


def test_events_of_a_hang_and_of_an_offence_say_why_before_the_kill(start: Start) -> None:
    running = start(secondary="once:hang", third="once:garbage")
    running.wait("third +active", 2)
    running.wait("secondary +active", 2)
    stream = followed(running)
    assert running.stop() == 0
    events = list(stream)
    for name, words in (("secondary", "heartbeat"), ("third", "life protocol: ")):
        killed = next(event for event in events if event["subject"] == name and event["name"] == "killed")
        died = next(event for event in events if event["subject"] == name and event["name"] == "died")
        assert words in killed["sentence"] and words in died["sentence"]
        assert killed["seq"] < died["seq"]
    assert {event["kind"] for event in events if event["name"] == "hung"} == {"health"}
