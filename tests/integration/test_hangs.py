"""Every way to hang, on a running host: found in under two seconds, killed, and started again; a hiccup is none.

Faults of loops that do not use the processor happen at the same time, each in a loop of its own, and each test looks at
one of them. What a test bounds tightly is the silence as the supervisor has measured it; what a busy machine can
stretch, the time until this test hears of it, has a generous bound.
"""

from __future__ import annotations

import os
import re
import select
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt.errors import CallError

SILENCE_S, HEARD_S = 2.0, 6.0
WAITING = ("sleep", "lock", "read")
SPINNING = ("spin_in_python", "spin_in_c")
LOOPS = {how: f"h_{how}" for how in (*WAITING, *SPINNING, "hiccup", "stop")} | {"lie": "external"}
COMPONENTS = {f"{loop}/hang": {"class": "captured.hangs:Hanging", "process": "shared"} for loop in LOOPS.values()}
POLICY = {f"client/admin -> {address}": "*" for address in COMPONENTS}


@dataclass(frozen=True, slots=True)
class Death:
    """What the console said of one, and when it was heard after the fault, in seconds."""

    line: str
    heard_s: float

    @property
    def silence_s(self) -> float:
        found = re.search(r"heartbeat: no beat for ([0-9.]+) s", self.line)
        assert found is not None, self.line
        return float(found[1])


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    declared: dict[str, dict[str, object]] = {loop: {} for loop in LOOPS.values() if loop.startswith("h_")}
    yield from running(request, components=COMPONENTS, policy=POLICY, packages=[PACKAGE], extra={"loops": declared})


def fail(host: RunningHost, how: str) -> None:
    """Let a fault happen in its loop, by a call that is not waited for."""
    loop = LOOPS[how]
    if how == "stop":
        host.kill(loop, signal.SIGSTOP)
        return
    client = host.client()

    def ask() -> None:
        try:
            client.call(
                f"{loop}/hang", "lie" if how == "lie" else "hang", *([] if how == "lie" else [how]), timeout_s=60
            )
        except CallError:
            return  # its loop was killed

    threading.Thread(target=ask, daemon=True).start()


def deaths(host: RunningHost, loops: Sequence[str], began: float, after: int) -> dict[str, Death]:
    """Wait until each of the loops has died and serves again."""
    found: dict[str, Death] = {}
    while missing := [loop for loop in loops if loop not in found]:
        line = host.wait_for(rf"^({'|'.join(missing)}) +died ", after=after)
        found[line.split()[0]] = Death(line, time.monotonic() - began)
    for loop in loops:
        host.wait_for(rf"^{loop} +active ", after=after)
    return found


def incarnations(host: RunningHost) -> dict[str, int]:
    return {loop["name"]: loop["incarnation"] for loop in host.status()["loops"]}


def pass_time(host: RunningHost, seconds: float) -> None:
    """Wait until the host says that it is older by that much."""
    end = host.status()["supervisor"]["uptime_s"] + seconds
    host.until(lambda document: document["supervisor"]["uptime_s"] >= end, "a later time", timeout_s=seconds + 20)


@pytest.fixture(scope="module")
def waiting(host: RunningHost) -> dict[str, Death]:
    """The faults that wait, all at the same time; the hiccup too."""
    after, before, began = len(host.console), incarnations(host), time.monotonic()
    faults = (*WAITING, "stop", "lie")
    stopped = os.pidfd_open(host.pids()[LOOPS["stop"]])
    for how in ("hiccup", *faults):
        fail(host, how)
    found = deaths(host, [LOOPS[how] for how in faults], began, after)
    with pytest.raises(ProcessLookupError):  # too late: it cannot be revived
        signal.pidfd_send_signal(stopped, signal.SIGCONT)
    os.close(stopped)
    now = incarnations(host)
    assert {loop for loop in now if now[loop] != before[loop]} == set(found)
    return {how: found[LOOPS[how]] for how in faults}


@pytest.mark.parametrize("how", [*WAITING, "stop", "lie"])
def test_a_loop_that_waits_for_ever_is_found_in_two_seconds(waiting: dict[str, Death], how: str) -> None:
    assert waiting[how].silence_s < SILENCE_S and waiting[how].heard_s < HEARD_S


def test_beats_of_a_side_thread_are_none(waiting: dict[str, Death]) -> None:
    found = re.search(r"but ([0-9]+) that its event loop did not make", waiting["lie"].line)
    assert found is not None and int(found[1]) >= 2


def test_who_was_restarted_serves_and_there_is_one_of_each(host: RunningHost, waiting: dict[str, Death]) -> None:
    client = host.client()
    for how in (*WAITING, "stop", "lie"):
        assert client.call(f"{LOOPS[how]}/hang", "now", timeout_s=10) > 0
    names = [_comm(pid) for pid in host.pids().values()]
    assert all(sum(name.startswith(LOOPS[how][:9]) for name in names) >= 1 for how in WAITING)


@pytest.mark.parametrize("how", SPINNING)
def test_a_busy_loop_is_found_in_two_seconds(host: RunningHost, how: str) -> None:
    after, began = len(host.console), time.monotonic()
    fail(host, how)
    death = deaths(host, [LOOPS[how]], began, after)[LOOPS[how]]
    assert death.silence_s < SILENCE_S and death.heard_s < HEARD_S


def test_a_short_pause_is_no_death(host: RunningHost) -> None:
    before = incarnations(host)
    assert host.client().call(f"{LOOPS['hiccup']}/hang", "hang", "hiccup", timeout_s=10) > 0
    pid = host.kill("secondary", signal.SIGSTOP)
    select.select([], [], [], 0.6)
    os.kill(pid, signal.SIGCONT)
    pass_time(host, 2.0)
    assert incarnations(host) == before


def test_a_stuck_authority_is_found_in_two_seconds_and_no_loop_ends(host: RunningHost) -> None:
    before, after, began = incarnations(host), len(host.console), time.monotonic()
    host.kill("authority", signal.SIGSTOP)
    death = Death(host.wait_for("^authority +died ", after=after), time.monotonic() - began)
    assert death.silence_s < SILENCE_S and death.heard_s < HEARD_S
    host.until(lambda document: document["authority"]["state"] == "active", "an authority that has booted")
    assert host.client().call(f"{LOOPS['hiccup']}/hang", "now", timeout_s=10) > 0
    assert incarnations(host) == before


def test_a_stuck_primary_is_found_in_two_seconds_and_serves_again(host: RunningHost) -> None:
    after, began = len(host.console), time.monotonic()
    host.kill("primary", signal.SIGSTOP)
    death = deaths(host, ["primary"], began, after)["primary"]
    assert death.silence_s < SILENCE_S and death.heard_s < HEARD_S
    assert host.client().call(f"{LOOPS['hiccup']}/hang", "now", timeout_s=10) > 0


@pytest.mark.parametrize("who", ["supervisor", "everybody"])
def test_a_supervisor_that_was_stopped_itself_kills_nobody(host: RunningHost, who: str) -> None:
    before, authority = incarnations(host), host.pids()["authority"]
    pids = [pid for name, pid in host.pids().items() if name != "launcher" and who in (name, "everybody")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    select.select([], [], [], 3.0)
    for pid in reversed(pids):  # the supervisor last
        os.kill(pid, signal.SIGCONT)
    pass_time(host, 2.2)
    assert incarnations(host) == before and host.pids()["authority"] == authority


def _comm(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        return file.read().strip()
