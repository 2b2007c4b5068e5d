"""Whatever breaks in the middle of a reload: nothing looser comes back, nobody works in two epochs, and it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hosts.late_prelude import LatePrelude
from hosts.reloading_host import (
    EX_CONFIG,
    EX_UNAVAILABLE,
    PROBED,
    assert_one_boundary,
    entry_of,
    limit,
    outcomes,
    reload,
    reload_by_command,
    set_loop,
    state,
)
from hosts.running_host import RunningHost, running
from probes.descriptors import lasting

from tlsrt.errors import CallError
from tlsrt.supervisor.control.client import ControlClient

# A profile with this file in it cannot be entered, as on a host that refuses a mount.
CLOSED = "closed"
CANNOT_ENTER = f"""
from tlsrt.errors import SandboxError
from tlsrt.supervisor.launch import child_entries
def _enter(profile, *arguments, real=child_entries.enter_world, **options):
    if any(path.name == {CLOSED!r} for path in profile.read):
        raise SandboxError("mount_namespace", "mount: Operation not permitted")
    return real(profile, *arguments, **options)
child_entries.enter_world = _enter
"""
# A configuration with this file in it meets a bug of ours.
UNFORESEEN = "unforeseen"
BUG = f"""
from tlsrt.supervisor.launch import start
def _keys(old, new, real=start.fixed_keys):
    if any(path.name == {UNFORESEEN!r} for loop in new.loops for path in loop.read):
        raise ValueError("nobody thought of that")
    return real(old, new)
start.fixed_keys = _keys
"""
ACKNOWLEDGE_S = 5.0


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED, prelude=LatePrelude(CANNOT_ENTER + BUG))


class Numbers:
    """A memory limit that no reload has used yet."""

    def __init__(self) -> None:
        self.number = 480

    def __call__(self) -> int:
        self.number -= 1
        return self.number


tighter = Numbers()


def test_a_profile_that_cannot_be_entered_fails_closed(host: RunningHost) -> None:
    path = host.base / CLOSED
    path.write_text("")
    before = host.loop("third")
    text = host.config_path.read_text()
    set_loop(host, "third", read=[str(path)])
    report = reload_by_command(host, code=EX_UNAVAILABLE)
    entry = entry_of(report, "third")
    assert entry["outcome"] == "failed" and report["epoch"] == state(host)["epoch"]
    assert "its sandbox could not be built" in entry["reason"]
    assert before["sandbox"]["profile"][:12] in entry["reason"], "the old state is named"
    third = host.loop("third")
    assert (third["state"], third["pid"]) == ("failed", None), "and it is not used again"
    assert third["sandbox"]["profile"] == entry["profile"] != before["sandbox"]["profile"]
    assert {name for name, word in outcomes(report).items() if word != "unchanged"} == {"third"}
    client = host.client()
    with pytest.raises(CallError):
        client.call("third/probed", "add", 1, timeout_s=2)
    assert client.call("secondary/probed", "add", 0) >= 0, "the others serve"
    # Another reload tries the same profile again, and nothing else; a corrected one brings it back.
    assert entry_of(reload(host, code=EX_UNAVAILABLE), "third")["profile"] == entry["profile"]
    host.config_path.write_text(text)
    assert entry_of(reload(host), "third")["outcome"] == "restarted"
    assert client.call("third/probed", "add", 1, idempotent=True) == 1
    assert_one_boundary(host)


@pytest.mark.parametrize("loop", ["third", "primary"])
def test_a_loop_that_is_stopped_is_restarted(host: RunningHost, loop: str) -> None:
    before = host.loop(loop)
    set_loop(host, "secondary", memory_mb=tighter())
    host.kill(loop, signal.SIGSTOP)
    report = reload(host)
    entry = entry_of(report, loop)
    assert entry["outcome"] == "restarted" and entry["reason"], "and why"
    assert host.loop(loop)["pid"] != before["pid"]
    assert outcomes(report)["secondary"] == "tightened live"
    assert_one_boundary(host)


def test_a_loop_that_is_blocked_is_restarted(host: RunningHost) -> None:
    client = host.client()
    blocked = threading.Thread(target=_swallow, args=(lambda: client.call("third/probed", "block", 30.0),))
    blocked.start()
    client.call("secondary/probed", "add", 0)
    set_loop(host, "secondary", memory_mb=tighter())
    report = reload(host)
    blocked.join()
    assert entry_of(report, "third")["outcome"] == "restarted"
    assert_one_boundary(host)


def test_a_loop_that_does_not_acknowledge_is_refused_and_restarted(host: RunningHost) -> None:
    client = host.client()
    before, seen = host.loop("third"), len(host.console)
    client.call("third/probed", "deafen")
    set_loop(host, "secondary", memory_mb=tighter())
    start = time.monotonic()
    report = reload(host)
    assert time.monotonic() - start >= ACKNOWLEDGE_S
    entry = entry_of(report, "third")
    assert entry["outcome"] == "restarted" and "not ready for epoch" in entry["reason"]
    assert host.loop("third")["pid"] != before["pid"]
    assert host.wait_for(r"^authority +unprepared +third: not ready for epoch", after=seen)
    assert_one_boundary(host)


def test_the_authority_is_killed_in_the_middle(host: RunningHost) -> None:
    """After the check: the one that comes again finishes the move, without grace."""
    client = host.client()
    epoch, seen = state(host)["epoch"], len(host.console)
    set_loop(host, "secondary", read=[str(_made(host, f"a{time.monotonic_ns()}"))])
    pid = host.pids()["authority"]
    held = _hold(client, "secondary/probed", 2.0)
    report = _during(lambda: reload(host), host, lambda: os.kill(pid, signal.SIGKILL), when="changing")
    held.join()
    assert host.wait_for("^authority +active", after=seen)
    assert entry_of(report, "secondary")["outcome"] == "restarted"
    assert report["epoch"] > epoch + 1
    assert_one_boundary(host)


@pytest.mark.parametrize("victim", ["primary", "secondary", "third"])
def test_a_loop_is_killed_in_the_middle(host: RunningHost, victim: str) -> None:
    client, epoch = host.client(), state(host)["epoch"]
    set_loop(host, "secondary", read=[str(_made(host, f"b{victim}"))])
    pid = host.pids()[victim]
    held = _hold(client, "secondary/probed", 2.0)
    report = _during(lambda: reload(host), host, lambda: os.kill(pid, signal.SIGKILL), when="changing")
    held.join()
    assert entry_of(report, "secondary")["outcome"] == "restarted"
    assert entry_of(report, victim)["outcome"] == "restarted"
    assert report["epoch"] == epoch + 1
    assert host.client().call("secondary/probed", "add", 1) == 1
    assert_one_boundary(host)


def test_a_host_that_stops_in_the_middle_says_so(request: pytest.FixtureRequest) -> None:
    for host in running(request, **PROBED):
        client = host.client()
        set_loop(host, "secondary", read=[str(_made(host, "c"))])
        held = _hold(client, "secondary/probed", 1.5)
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(host.cli("reload")))  # noqa: B023 - one host only
        thread.start()
        host.until(lambda document: document["boundary"]["changing"], "the change")
        with ControlClient(host.config.run_dir) as control:
            control.ask("stop")
        thread.join()
        held.join()
        assert answers[0].returncode == 77 and "tlsrt is stopping" in answers[0].stderr


@pytest.mark.parametrize("reloads", [9, pytest.param(400, marks=[pytest.mark.stress, pytest.mark.timeout(600)])])
def test_many_reloads_leave_nothing_behind(host: RunningHost, reloads: int) -> None:
    for settings in ({"memory_mb": tighter()}, {"memory_mb": 512}):  # once, so that what is made once is made
        set_loop(host, "third", **settings)
        reload(host)
    pids = host.pids()
    trusted = {name: _count(pids[name]) for name in ("supervisor", "authority", "primary")}
    children = _children(pids["supervisor"])
    for number in range(reloads):
        set_loop(host, "third", memory_mb=tighter() if number % 8 else 512)
        reload(host)
    for name, before in trusted.items():
        # The control socket closes our own questions a moment later.
        _until_count(host, pids[name], before)
    assert len(_children(pids["supervisor"])) == len(children)
    assert limit(host.pids()["third"], "Max data size") <= 512 << 20
    assert_one_boundary(host)


def test_under_load_every_call_ends_in_time(host: RunningHost) -> None:
    ended = threading.Event()
    problems: list[str] = []
    counts = {"answered": 0, "errors": 0, "idempotent": 0}

    def load(target: str, *, idempotent: bool) -> None:
        client = host.client()
        while not ended.wait(0.005):  # the processors are for the reloads as well
            start = time.monotonic()
            try:
                client.call(target, "add", 1, timeout_s=15, idempotent=idempotent)
                counts["idempotent" if idempotent else "answered"] += 1
            except CallError as error:
                counts["errors"] += 1
                if idempotent:
                    problems.append(f"{target}: {type(error).__name__} {error}")
            except Exception as error:
                problems.append(f"{target}: untyped {type(error).__name__} {error}")
            if time.monotonic() - start > 16:
                problems.append(f"{target}: later than its deadline")

    threads = [
        threading.Thread(target=load, args=(target,), kwargs={"idempotent": idempotent})
        for target in ("secondary/probed", "third/probed")
        for idempotent in (True, False)
    ]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            set_loop(host, "forth", memory_mb=tighter())  # live: only the epoch moves
            reload(host)
            set_loop(host, "secondary", read=[str(_made(host, f"load{number}"))])
            reload(host)
        set_loop(host, "primary", memory_mb=900)
        reload(host)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert counts["answered"] > 50 and counts["idempotent"] > 50
    assert_one_boundary(host)


def test_a_refused_reload_leaks_nothing_either(host: RunningHost) -> None:
    text = host.config_path.read_text()
    set_loop(host, "third", read=["/nonexistent"])
    reload(host, code=EX_CONFIG)
    pid = host.pids()["supervisor"]
    before = _count(pid)
    for _ in range(5):
        reload(host, code=EX_CONFIG)
    _until_count(host, pid, before)
    host.config_path.write_text(text)


def test_a_bug_of_ours_does_not_end_the_host(host: RunningHost) -> None:
    text, before = host.config_path.read_text(), state(host)
    set_loop(host, "third", read=[str(_made(host, UNFORESEEN))])
    [sentence] = reload(host, code=EX_CONFIG)["said"]
    assert "ValueError: nobody thought of that (a bug of tlsrt; nothing was changed)" in sentence
    assert state(host) == before
    host.config_path.write_text(text)


def _made(host: RunningHost, name: str) -> Any:
    path = host.base / name
    path.write_text("")
    return path


def _swallow(call: Callable[[], object]) -> None:
    with suppress(CallError):
        call()


def _hold(client: Any, target: str, seconds: float) -> threading.Thread:
    """Keep a loop from being drained at once: begin a call that takes a while."""
    client.call(target, "add", 0)
    thread = threading.Thread(target=_swallow, args=(lambda: client.call(target, "held", seconds),))
    thread.start()
    client.call(target, "add", 0)  # it comes in behind
    return thread


def _during(
    run: Callable[[], dict[str, Any]], host: RunningHost, deed: Callable[[], object], *, when: str
) -> dict[str, Any]:
    """Run a reload in a thread and do something once it is being carried out; return its report."""
    reports: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: reports.append(run()))
    thread.start()
    host.until(lambda document: document["boundary"][when], "a change under way")
    deed()
    thread.join()
    assert reports, "the reload failed"
    return reports[0]


def _count(pid: int) -> int:
    return len(lasting(pid))


def _until_count(host: RunningHost, pid: int, most: int) -> None:
    host.until(lambda document: _count(pid) <= most, f"{most} descriptors of {pid} again")


def _children(pid: int) -> list[str]:
    found: list[str] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with suppress(FileNotFoundError), open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += file.read().split()
    return found
