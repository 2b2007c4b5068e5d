"""Attacked sentence: who is seen to sleep need not beat, and a hang of it is found as soon as of one that beats.

A real host whose loops have come to rest: what a process does to seem asleep, and what is done to one that sleeps.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt.channels.session.verifier import FEED_SILENCE_MS
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.supervision.heartbeat import HeartbeatPolicy
from tlsrt.supervisor.supervision.watchdog import ATTEST_ROUND_S

SLEEPER = "third/sleeper"
FOUND_S = HeartbeatPolicy().silence_s + ATTEST_ROUND_S  # after the last sign of life, which is 0.5 s old at most
LOAD_S = 3.0  # of a machine with other work, and to read what the console says
REST_S = 8.0
TRIES = 2
RING_S = 12.0  # longer than it takes to come to rest, and than a verifier knows enough without a feed


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], clients=("late",),
        components={SLEEPER: {"class": "captured.sleeper:Sleeper"}},
        policy={f"client/admin -> {SLEEPER}": "*", f"client/late -> {SLEEPER}": "*"},
    )  # fmt: skip


def runs(pid: int) -> tuple[str, ...]:
    """Return how often each task of a process has come onto a processor."""
    return tuple(sorted(path.read_text().split()[2] for path in Path(f"/proc/{pid}/task").glob("*/schedstat")))


@pytest.fixture
def name(host: RunningHost) -> str:
    """The process of the sleeper, which is active."""
    name = "third.sleeper"
    host.until(lambda document: host.loop(name)["state"] == "active", "an active sleeper", timeout_s=30.0)
    return name


def at_rest(host: RunningHost, name: str) -> int:
    """Wait until a process does not run for three rounds; return its pid, or skip where a kernel hides its sleep."""
    pid = host.loop(name)["pid"]
    assert isinstance(pid, int)
    end = time.monotonic() + 4 * REST_S
    while time.monotonic() < end:
        before = runs(pid)
        time.sleep(3 * ATTEST_ROUND_S)
        if runs(pid) == before:
            assert host.loop(name)["pid"] == pid
            return pid
    if Path(f"/proc/{pid}/wchan").read_text() in ("0", ""):
        pytest.skip("this kernel hides where a task waits, so every process beats")
    pytest.fail("it does not come to rest")


def died(host: RunningHost, name: str, after: int, began: float) -> None:
    host.wait_for(f"^{name} +died +heartbeat: no beat for 1.[0-9]+ s", after=after, timeout_s=30.0)
    assert time.monotonic() - began < FOUND_S + LOAD_S


def test_one_at_rest_neither_beats_nor_dies_and_answers_a_call(host: RunningHost, name: str) -> None:
    pid = at_rest(host, name)
    time.sleep(FEED_SILENCE_MS / 1000 + 1)  # now its verifier knows nothing that is new enough
    for _ in range(3):
        assert host.client().call(SLEEPER, "ping") == "pong"
    assert host.loop(name)["pid"] == pid and host.loop(name)["restarts"] == 0
    assert at_rest(host, name) == pid


def test_a_timer_with_a_short_period_lets_its_process_rest_until_there_is_something_to_do(
    host: RunningHost, name: str
) -> None:
    host.client().call(SLEEPER, "ring_after", RING_S)
    pid = at_rest(host, name)
    time.sleep(RING_S)
    (late_s,) = host.client().call(SLEEPER, "lateness")
    assert 0 <= late_s < ATTEST_ROUND_S + 1.0 + LOAD_S, "its period, and a beat"
    assert at_rest(host, name) == pid


def test_a_timer_is_not_missed_that_gets_something_to_do_right_after_a_beat_that_was_asked_for(
    host: RunningHost, name: str
) -> None:
    before = len(host.client().call(SLEEPER, "lateness"))
    for _ in range(TRIES):
        host.client().call(SLEEPER, "ring_after_a_stir", 1.0)
        time.sleep(REST_S)  # it stirs after 6 s, and rings 1.5 s later
        time.sleep(1.0 + LOAD_S)
    late_s = host.client().call(SLEEPER, "lateness")[before:]
    assert len(late_s) == TRIES and max(late_s) < ATTEST_ROUND_S + 1.0 + LOAD_S


def test_one_rests_while_a_stream_of_it_is_open_and_what_it_says_then_arrives(host: RunningHost, name: str) -> None:
    with host.client("late") as client, ThreadPoolExecutor(1) as pool:
        host.client().call(SLEEPER, "ring_after", RING_S)
        rings = client.stream(SLEEPER, "rings", timeout_s=60.0)
        first = pool.submit(next, rings)
        pid = at_rest(host, name)
        assert not first.done()
        assert first.result(timeout=30.0) == "rung"
    assert at_rest(host, name) == pid and host.loop(name)["restarts"] == 0


def test_a_client_that_is_revoked_while_the_recipient_rests_is_not_heard(host: RunningHost, name: str) -> None:
    with host.client("late") as client:
        assert client.call(SLEEPER, "ping") == "pong"
        at_rest(host, name)
        time.sleep(FEED_SILENCE_MS / 1000 + 1)
        assert host.cli("revoke", "client", "late").returncode == 0
        with pytest.raises(TlsrtError):
            client.call(SLEEPER, "ping", timeout_s=5.0)
    assert host.client().call(SLEEPER, "ping") == "pong"


@pytest.mark.parametrize("deed", ["spin", "wait_elsewhere", "wait_nowhere"])
def test_one_that_hangs_after_a_rest_is_found_as_soon_as_one_that_beats(
    host: RunningHost, name: str, deed: str
) -> None:
    after = len(host.console)
    host.client().call(SLEEPER, deed)
    began = time.monotonic() + 6.0  # when it hangs: captured/sleeper.py
    died(host, name, after, began)
    assert time.monotonic() > began, "it was not killed for its rest"


def test_one_that_is_stopped_while_it_rests_is_found_as_soon(host: RunningHost, name: str) -> None:
    pid, after = at_rest(host, name), len(host.console)
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    died(host, name, after, began)


def test_one_that_is_frozen_while_it_rests_is_found_as_soon(host: RunningHost, name: str) -> None:
    pid, after = at_rest(host, name), len(host.console)
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    group = next((line.partition("::")[2] for line in lines if line.startswith("0::")), "")
    freeze = Path(f"/sys/fs/cgroup{group}/cgroup.freeze")
    if not freeze.exists():
        pytest.skip("no control group of its own that can be frozen")
    began = time.monotonic()
    freeze.write_text("1")
    died(host, name, after, began)


def test_one_that_hears_nothing_any_more_is_found_when_something_lies_unread(host: RunningHost, name: str) -> None:
    after = len(host.console)
    host.client().call(SLEEPER, "hear_nothing")
    died(host, name, after, time.monotonic() + 6.0)  # the feed, or the question for a beat, lies in its channels
