"""Deaths of real processes that follow a script: told, spaced out, followed by another, and by nobody unconfined."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.scripted_host import Start, pids_of, starting, word_of

from tlsrt.errors import EX_UNAVAILABLE

LOAD_S = 8.0  # how late a busy machine may be beside what is promised


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starting(tmp_path)


def test_a_killed_loop_comes_again_and_only_that_loop(start: Start) -> None:
    running = start()
    running.wait("^ready")
    before = pids_of(running.status())
    os.kill(before["third"], signal.SIGKILL)
    running.wait("third +active", 2)
    after = pids_of(running.status())
    assert after["third"] != before["third"]
    assert {name: pid for name, pid in after.items() if name != "third"} == {
        name: pid for name, pid in before.items() if name != "third"
    }
    assert running.wait("third +died").endswith("SIGKILL; again at once")
    assert running.loop("third")["restarts"] == 1
    assert running.loop("third")["incarnation"] == 4
    assert running.stop() == 0
    office = running.log("authority")
    at = office.index("gone third 3 0")
    assert office[at : at + 3] == ["gone third 3 0", "spawned third 4 1", "attested third 4 7 0"]


def test_the_reason_of_a_death_is_told(start: Start) -> None:
    reasons = {"crash": "exit code 3", "quit": "exit code 0", "segfault": "SIGSEGV"}
    running = start(**{deed: f"once:{deed}" for deed in reasons})
    for deed, reason in reasons.items():
        assert running.wait(f"^{deed} +died").endswith(f"{reason}; again at once")
        running.wait(f"^{deed} +active", 2)
        assert running.loop(deed)["last_death"]["sentence"].endswith(reason)
    assert running.stop() == 0


def test_a_crash_loop_is_spaced_out_and_ends_without_taking_the_others_along(start: Start) -> None:
    running = start(third="crash")
    running.wait("third +died", 5)
    delays = [line.rpartition("again ")[2] for line in running.lines if " died " in line]
    assert delays[:5] == ["at once", "in 0.05 s", "in 0.1 s", "in 0.2 s", "in 0.4 s"]
    born = [float(line.split()[1]) for line in running.log("third") if line.startswith("born")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(born)]
    assert all(gap >= least for gap, least in zip(gaps, (0.0, 0.05, 0.1, 0.2), strict=False))
    assert [loop["state"] for loop in running.status()["loops"]][:2] == ["active", "active"]
    assert running.stop() == 0


def test_a_hung_loop_is_found_in_two_seconds(start: Start) -> None:
    running = start(third="once:hang")
    running.wait("third +active")
    running.wait("third +died +heartbeat: no beat for 1.[0-9]+ s; again at once")
    running.wait("third +active", 2)
    # It beat once more, then hung; the console is read by a process that has to wait for a processor, too.
    assert running.time_of("third +died") - running.time_of("third +active") < 2.3 + LOAD_S
    assert running.stop() == 0


def test_a_stopped_loop_is_found_in_two_seconds(start: Start) -> None:
    running = start()
    running.wait("^ready")
    os.kill(pids_of(running.status())["secondary"], signal.SIGSTOP)
    began = time.monotonic()
    running.wait("secondary +died +heartbeat: no beat for 1.[0-9]+ s")
    assert time.monotonic() - began < 2.0 + LOAD_S
    running.wait("secondary +active", 2)
    assert running.stop() == 0


def test_a_loop_that_does_not_become_ready_is_killed(start: Start) -> None:
    running = start(third="once:unready", ready_timeout_s="1")
    running.wait("third +active")
    assert running.wait("third +died").endswith("not ready in 1 s; again at once")
    assert running.stop() == 0


def test_a_loop_that_says_that_it_failed_is_believed(start: Start) -> None:
    running = start(third="once:fail")
    running.wait("third +active", 2)
    assert "failed: a component could not start, see" in running.wait("third +died")
    assert running.stop() == 0


def test_a_loop_whose_code_cannot_be_imported_is_given_up_at_once(start: Start) -> None:
    """And the start ends all the same, with those after it."""
    running = start(secondary="no_import")
    assert running.wait("^ready").startswith("ready         2 loops")
    assert "failed: a component could not be imported, see" in running.wait("^secondary +failed")
    assert [loop["state"] for loop in running.status()["loops"]] == ["active", "failed", "active"]
    assert running.stop() == 0


def test_the_start_does_not_wait_until_one_that_fails_is_given_up(start: Start) -> None:
    running = start(third="stillborn")
    line = running.wait("^ready")
    assert line.startswith("ready         2 loops") and ", without third; next" in line
    assert not any(re.match("third +failed", one) for one in running.lines)
    third = next(loop for loop in running.status()["loops"] if loop["name"] == "third")
    assert third["last_death"]["sentence"] == "exit code 3"
    assert running.stop() == 0


def test_the_start_ends_when_the_last_loop_is_given_up(start: Start) -> None:
    running = start(third="no_import")
    assert running.wait("^ready").startswith("ready         2 loops")
    assert running.stop() == 0


def test_a_loop_that_changes_after_attestation_is_killed(start: Start) -> None:
    running = start()
    running.wait("^ready")
    tamper = running.folder / "tamper-third"
    tamper.touch()
    line = running.wait("third +died")
    tamper.unlink()
    assert "attestation: uids are (0, 0, 0, 0), not all 771003" in line
    assert word_of(running.lines, "died").count("primary") == 0
    assert running.stop() == 0


@pytest.mark.parametrize("name", ["third", "authority"])
def test_nobody_is_born_again_while_a_descendant_of_the_dead_lives(start: Start, name: str) -> None:
    running = start()
    running.wait("^ready")
    left = running.folder / f"left-{name}"
    left.touch()
    before = pids_of(running.status())
    os.kill(before[name], signal.SIGKILL)
    wait_until_gone_of(before[name])
    during = pids_of(running.status())
    assert during[name] is None and {**during, name: before[name]} == before
    assert not any("died" in line for line in running.lines)
    left.unlink()
    running.wait(f"^{name} +died +signal SIGKILL")
    running.wait(f"^{name} +active", 1 if name == "authority" else 2)
    assert running.stop() == 0


def wait_until_gone_of(pid: int) -> None:
    while os.path.isdir(f"/proc/{pid}"):
        os.sched_yield()


def test_a_loop_that_is_not_confined_gets_no_keys(start: Start, tmp_path: Path) -> None:
    (tmp_path / "tamper-third").touch()
    running = start()
    running.wait("third +died +attestation", 2)
    assert running.stop() == 0
    assert not [line for line in running.log("authority") if line.startswith("attested third")]


def test_an_authority_that_is_not_what_its_profile_says_gets_no_key(start: Start, tmp_path: Path) -> None:
    """It is said like a sandbox that cannot be had: the next one would be no other."""
    (tmp_path / "tamper-authority").touch()
    running = start()
    code, errors = running.end()
    assert code == EX_UNAVAILABLE
    assert errors.splitlines() == [
        "tlsrt-supervisor: sandbox layer authority: attestation: uids are (0, 0, 0, 0), not all 771003"
    ]
    assert not [line for line in running.log("authority") if line.startswith("boot")]


def test_an_authority_that_changes_later_is_ended_and_the_next_one_is_looked_at_too(start: Start) -> None:
    running = start()
    running.wait("^ready")
    tamper = running.folder / "tamper-authority"
    tamper.touch()
    assert "attestation: uids are (0, 0, 0, 0), not all 771003; again at once" in running.wait("^authority +died")
    running.wait("^authority +died +attestation", 2)
    handed = [line for line in running.log("authority") if line.startswith("boot ")]
    assert len(handed) == 1, "the second one has none of the keys"
    tamper.unlink()
    running.wait("^authority +active")
    assert set(word_of(running.lines, "died")) == {"authority"}
    assert running.stop() == 0


@pytest.mark.parametrize("deed", ["unsealed", "boots_itself"])
def test_an_authority_that_nobody_has_looked_at_gets_no_key_and_is_not_believed(start: Start, deed: str) -> None:
    running = start(authority=deed, ready_timeout_s="1")
    reason = "not booted in 1 s" if deed == "unsealed" else "authority protocol: wrong_state"
    running.wait(f"^authority +died +{reason}")
    assert running.stop() == 0
    assert not [line for line in running.log("authority") if line.startswith("boot ")]
    assert not any(re.match("authority +active", line) for line in running.lines)
