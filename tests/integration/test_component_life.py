"""The life of a component on a running host: readiness, tasks of its own, and what the operator sees of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import CallError, Unavailable

PACKAGE = Path(__file__).parent.parent / "hosts" / "life_package" / "life"
BRIDGE, NIGHTLY = "third/bridge", "secondary/nightly"
TELLER, LISTENER = "third/teller", "secondary/listener"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE],
        components={
            BRIDGE: {"class": "life:Bridge"}, NIGHTLY: {"class": "life.nightly:Nightly"},
            TELLER: {"class": "life.telling:Teller"}, LISTENER: {"class": "life.telling:Listener"},
        },
        policy={
            **{f"client/admin -> {address}": "*" for address in (BRIDGE, NIGHTLY, LISTENER, "primary/events")},
            f"{LISTENER} -> {TELLER}": ["subscribe", "now", "count", "size"],
            f"{LISTENER} -> primary/events": ["lifecycle"],
        },
    )  # fmt: skip


def component(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["loops"] if one["name"] == "third.bridge")["components"][0]
    return found


def test_calls_wait_for_a_component_that_is_not_ready_and_nobody_is_restarted(host: RunningHost) -> None:
    client, after, incarnation = host.client(), len(host.console), host.loop("third.bridge")["incarnation"]
    host.until(lambda document: component(document)["ready"] is True and component(document)["tasks"] == 2, "ready")
    is_back = threading.Event()

    def until_back() -> Iterator[bytes]:
        yield b"away"
        is_back.wait(60)

    with ThreadPoolExecutor(2) as pool:
        try:
            away = pool.submit(client.upload, BRIDGE, "away", until_back())
            host.wait_for(rf"^third.bridge +unready +{BRIDGE} is not ready, see ", after=after)
            assert f"{BRIDGE} is not ready, see the log of third.bridge" in host.cli("status").stdout
            assert "not ready: no broker" in host.log("third.bridge")
            waits = pool.submit(client.call, BRIDGE, "figures")
            with pytest.raises(Unavailable, match="third/bridge is not ready: try again"):
                client.call(BRIDGE, "figures", timeout_s=1.0)
            assert "pid" in client.call(BRIDGE, "describe")["methods"]
            assert not waits.done()
        finally:
            is_back.set()
        assert waits.result()["pumped"] >= 1, "it waited until the component was ready"
        away.result()
    host.wait_for(rf"^third.bridge +ready +{BRIDGE}$", after=after)
    assert host.loop("third.bridge")["incarnation"] == incarnation


def test_a_task_that_dies_is_told_and_started_again_until_its_process_has_failed(host: RunningHost) -> None:
    client, after = host.client(), len(host.console)
    pumped = client.call(BRIDGE, "break_pipe")
    host.until(lambda document: component(document)["task_restarts"] == 1, "started again")
    log = host.log("third.bridge")
    assert "task pump has ended with OSError: broken pipe; it starts again in " in log
    assert f"status: pump {pumped + 1}" in log
    client.call(BRIDGE, "forget")
    client.call(BRIDGE, "figures")
    assert "task forgotten (Bridge.forget.<locals>.dies) has died, and no code awaited it" in host.log("third.bridge")
    client.call(BRIDGE, "break_always")
    words = "failed: a task of third/bridge ended too often, see "
    host.wait_for(f"^third.bridge +died +{words}", after=after)
    assert "task pump has ended with OSError: broken pipe, more than 5 times in 60 s" in host.log("third.bridge")
    host.wait_for("^third.bridge +active ", after=after)
    death = host.loop("third.bridge")["last_death"]
    assert death["cause"] == "component" and death["sentence"].startswith(words)
    assert client.call(BRIDGE, "figures")["pumped"] == 1
    assert not [line for line in host.console[after:] if " died " in line and "third.bridge" not in line]


def test_tasks_end_before_stop_is_called(host: RunningHost) -> None:
    after = len(host.console)
    assert host.cli("restart", "third.bridge").returncode == 0
    host.wait_for("^third.bridge +active ", after=after)
    assert "stop: the task has ended before: True" in host.log("third.bridge")


def nightly(host: RunningHost, true: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Ask until it answers as wanted; it dies on the way."""
    client, until = host.client(), time.monotonic() + 15
    while time.monotonic() < until:
        with suppress(CallError):
            found: dict[str, Any] = client.call(NIGHTLY, "figures")
            if true(found):
                return found
    raise AssertionError(f"{NIGHTLY} did not come to: {what}")


def arm(host: RunningHost, late_s: float, *, deadly: bool = False, damaged: bool = False) -> int:
    """Let the component come again with due times that have passed; return where the console was before."""
    after = len(host.console)
    with suppress(CallError):
        host.client().call(NIGHTLY, "arm", late_s=late_s, deadly=deadly, damaged=damaged)
    host.wait_for("^secondary.nightly +died ", after=after)
    return after


def test_periods_run_on_the_beat_and_below_it(host: RunningHost) -> None:
    found = nightly(host, lambda found: bool(found["polls"] >= 3), "three polls")
    assert found["ticks"] >= 30
    assert found["zone"] == time.strftime("%z", time.localtime(0)), "the time zone of the host"
    assert min(found["dues"].values()) > time.time(), "on the disk before anything ran"


def test_a_component_that_is_killed_in_its_run_does_not_run_it_again(host: RunningHost) -> None:
    before = nightly(host, lambda found: True, "answers")
    after = arm(host, 5.0, deadly=True)
    came = host.console.index(host.wait_for("^secondary.nightly +active ", after=after))
    host.wait_for("^secondary.nightly +died +exit code 9", after=came)
    found = nightly(host, lambda found: bool(found["runs"] > before["runs"] and found["polls"] >= 2), "it ran")
    assert found["runs"] == before["runs"] + 1
    assert found["dues"]["tidy"] > time.time()


def test_a_time_that_was_missed_is_made_up_for_once_or_left_out_as_it_says(host: RunningHost) -> None:
    before = nightly(host, lambda found: True, "answers")
    arm(host, 3600.0)
    found = nightly(host, lambda found: bool(found["runs"] > before["runs"] and found["polls"] >= 2), "made up for")
    assert (found["runs"], found["skipped"]) == (before["runs"] + 1, before["skipped"])
    log = host.log("secondary.nightly")
    assert "timer tidy was due while it could not run, and runs now, once" in log
    assert "timer strict was due while it could not run, and is left out as it says" in log


def test_a_file_that_was_cut_off_is_told_and_the_next_due_time_holds(host: RunningHost) -> None:
    before = nightly(host, lambda found: True, "answers")
    arm(host, 3600.0, damaged=True)
    found = nightly(host, lambda found: bool(found["polls"] >= 2), "answers again")
    assert found["runs"] == before["runs"] and found["dues"]["tidy"] > time.time()
    assert "cannot read .timers.json: it is damaged or cut off" in host.log("secondary.nightly")


def heard(host: RunningHost, true: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    client, until = host.client(), time.monotonic() + 15
    while time.monotonic() < until:
        found: dict[str, Any] = client.call(LISTENER, "heard", timeout_s=15)
        if true(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"{LISTENER} did not hear: {what}; it heard {found['ticks'][-5:]}")


def has_more_ticks(before: int, found: dict[str, Any]) -> bool:
    return len(found["ticks"]) > before + 20


def lives_of(ticks: list[Any]) -> list[list[int]]:
    """Return the numbers that were heard of each process of the teller, parted by the gaps that were told."""
    found: list[list[int]] = [[]]
    for tick in ticks:
        if tick is None:
            found.append([])
        else:
            found[-1].append(tick[1])
    return [life for life in found if life]


def is_whole(numbers: list[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_followed_events_have_no_gap_and_no_double_when_primary_dies(host: RunningHost) -> None:
    heard(host, lambda found: len(found["ticks"]) > 20, "ticks")
    for _ in range(2):
        after = len(host.console)
        before = len(heard(host, lambda found: True, "ticks")["ticks"])
        host.kill("primary")
        host.wait_for("^primary +active ", after=after)
        found = heard(host, partial(has_more_ticks, before), "ticks after Primary")
        assert None not in found["ticks"] and is_whole(lives_of(found["ticks"])[0]), found["ticks"]
    seqs = found["events"]
    assert None not in seqs and seqs == sorted(set(seqs)), seqs
    known = [
        event["seq"] for event in host.client().call("primary/events", "recent")
        if event["kind"] == "lifecycle" and seqs[0] <= event["seq"] <= seqs[-1]
    ]  # fmt: skip
    assert known == seqs and len(seqs) > 4, "and the events of the host are whole"


def test_a_peer_that_dies_is_a_gap_that_is_told_once_and_calls_wait_for_it(host: RunningHost) -> None:
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(host.client().call, LISTENER, "ask", 3.0)
        for _ in range(2):
            after = len(host.console)
            before = len(heard(host, lambda found: True, "ticks")["ticks"])
            host.kill("third.teller")
            host.wait_for("^third.teller +active ", after=after)
            heard(host, partial(has_more_ticks, before), "ticks of the next process")
        found = asking.result(20)
    assert found["errors"] == [] and found["calls"] > 100, found
    ticks = heard(host, lambda found: True, "ticks")["ticks"]
    assert ticks.count(None) == 2
    assert all(is_whole(life) for life in lives_of(ticks))
    assert len({tuple(tick) for tick in ticks if tick}) == len(ticks) - 2, "none twice"
    assert len({tick[0] for tick in ticks if tick}) == 3


def test_a_peer_streams_and_takes_uploads(host: RunningHost) -> None:
    assert host.client().call(LISTENER, "use") == {"items": [0, 1, 2, 3, 4], "size": "x: 3000"}
