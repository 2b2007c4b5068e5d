"""Threads that a component asks for: where its work runs, how it is counted, and what it cannot have."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running
from probes.sandbox_runner import MODES

from tlsrt import CallError, DeadlineExceeded, Failed

WORKER = {"class": "captured.threads:Worker"}
FOUR = {"needs": {"threads": 4}}
COMPONENTS = {
    "third/worker": {**WORKER, **FOUR},
    "third/starter": {**WORKER, **FOUR},
    "third/liar": {"class": "captured.hangs:Hanging", "needs": {"threads": 1}},
    "third/idle": WORKER,
}
THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000  # CLONE_VM FS FILES SIGHAND THREAD


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {f"client/admin -> {name}": "*" for name in COMPONENTS}
    yield from running(request, components=COMPONENTS, policy=policy, packages=[PACKAGE], mode=request.param)


def threads_of(status: dict[str, Any]) -> Any:
    return next(one["threads"] for one in status["loops"] if one["name"] == "third.worker")


def test_work_executors_and_resolvers_run_in_its_named_threads(host: RunningHost) -> None:
    *names, address = host.client().call("third/worker", "where")
    assert all(name.startswith("tlsrt-work-") for name in names) and address == "127.0.0.1"
    assert host.client().call("third/worker", "crunch", 0.05, 8) > 0, "eight of them in four threads"
    assert host.client().call("third/worker", "metrics")["counters"] == {"crunched": 8}
    assert r'INFO third/worker: crunched threads=8 note="a\nb"' in host.log("third.worker")


def test_who_asked_for_none_is_told_in_one_sentence_and_it_is_no_violation(host: RunningHost) -> None:
    sentence = "cannot start a thread: put `threads: N` under needs of third/idle"
    assert host.client().call("third/idle", "start_threads", 1) == [0, sentence]
    with pytest.raises(Failed):
        host.client().call("third/idle", "where")
    assert sentence in host.log("third.idle")
    assert host.loop("third.idle")["violations"] == 0 and host.loop("third.idle")["threads"] is None


def test_it_gets_as_many_as_it_asked_for_and_the_next_is_told(host: RunningHost) -> None:
    client, before = host.client(), host.pids()["third.starter"]
    assert client.call("third/starter", "churn", 50) == 50
    sentence = "cannot start a thread: all 4 of third/starter run; put a larger `threads` under its needs"
    assert client.call("third/starter", "start_threads", 6) == [4, sentence]
    assert client.call("third/starter", "start_threads", 4) == [4, ""]
    assert host.loop("third.starter")["violations"] == 0 and host.pids()["third.starter"] == before


def test_a_call_that_is_given_up_is_counted_until_its_thread_has_ended(host: RunningHost) -> None:
    client = host.client()
    with pytest.raises(DeadlineExceeded, match="did not end within"):
        client.call("third/worker", "hold", 0.1)
    host.until(lambda status: threads_of(status)["given_up"] == 1, "the thread that goes on")
    assert "goes on in its thread, though it took more than 0.1 s: a thread cannot be stopped" in host.log(
        "third.worker"
    )
    assert "third.worker works in 1 of 4 threads, 1 of them for no one any more; 0 wait" in host.cli("status").stdout
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(client.call, "third/worker", "hold") for _ in range(8)]
        host.until(lambda status: threads_of(status)["waiting"] == 5, "calls that wait for a thread")
        client.call("third/worker", "let_go")
        assert [call.result() for call in calls] == [None] * 8
    host.until(lambda status: threads_of(status) == {"most": 4, "running": 0, "waiting": 0, "given_up": 0}, "rest")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of clone")
@pytest.mark.parametrize(
    "flags", [17, 0x100 | 17, THREAD_FLAGS | 0x10000000, THREAD_FLAGS | 0x20000, THREAD_FLAGS & ~0x800]
)
def test_threads_are_all_that_it_can_make(host: RunningHost, flags: int) -> None:
    assert host.client().call("third/worker", "make", flags) == "EPERM"


def test_its_event_loop_hangs_whatever_its_threads_say(host: RunningHost) -> None:
    after = len(host.console)
    with pytest.raises(CallError):
        host.client().call("third/liar", "lie", timeout_s=20)
    line = host.wait_for(r"^third\.liar +died ", after=after)
    found = re.search(r"but ([0-9]+) that its event loop did not make", line)
    assert found is not None and int(found[1]) >= 1
