"""Reloads and supervision together: groups that restart, that were given up, and whoever depends on them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import PROBED, assert_one_boundary, entry_of, outcomes, reload, set_loop
from hosts.running_host import RunningHost, running

from tlsrt import CallError
from tlsrt.supervisor.control.client import ControlClient

SUPERVISION = {
    "restart": {"first_s": 0.01, "deaths": 3, "window_s": 3600},
    "groups": {"ui": {"loops": ["third", "forth"], "strategy": "one_for_all", "restart": {"deaths": 100}}},
    "depends": {"external": ["secondary"]},
}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED, extra={"supervision": SUPERVISION}, limits={"stop_timeout_s": 3})


def restart(host: RunningHost, loop: str) -> dict[str, Any]:
    with ControlClient(host.config.run_dir) as client:
        return client.ask("restart", timeout_s=60, loop=loop)


def made(host: RunningHost, name: str) -> str:
    """Make a folder that a profile may have; a profile with another folder needs another process."""
    path = host.base / name
    path.mkdir(exist_ok=True)
    return str(path)


def all_active(document: dict[str, Any]) -> bool:
    return {loop["state"] for loop in document["loops"]} == {"active"}


def during(host: RunningHost, deed: Callable[[], object]) -> dict[str, Any]:
    """Reload, and do something as soon as the change is under way; return the report."""
    reports: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: reports.append(reload(host)))
    thread.start()
    host.until(lambda document: document["boundary"]["changing"], "the change")
    deed()
    thread.join()
    return reports[0]


def held(host: RunningHost, target: str) -> threading.Thread:
    """Keep a loop from ending before its time for draining is over, by a call that it would have to finish first."""
    client = host.client()
    client.call(target, "add", 0)

    def call() -> None:
        try:
            client.call(target, "held", 60.0, timeout_s=60)
        except CallError:
            pass  # whatever becomes of it is not what is asked here

    thread = threading.Thread(target=call)
    thread.start()
    host.client().call(target, "add", 0)
    return thread


def test_a_reload_restarts_whose_profile_has_changed_and_not_its_group(host: RunningHost) -> None:
    before = host.pids()
    set_loop(host, "third", read=[made(host, "read-a")])
    report = reload(host)
    assert {name for name, word in outcomes(report).items() if word == "restarted"} == {"third"}
    assert {name for name, pid in host.pids().items() if pid != before[name]} == {"third"}
    assert_one_boundary(host)


def test_what_was_given_up_is_tried_again_and_whoever_waits_for_it_comes_back(host: RunningHost) -> None:
    for _ in range(2):
        host.respawn("secondary")
    before = len(host.console)
    host.kill("secondary")
    host.wait_for("^external +waiting +for secondary, and comes back with it", after=before)
    host.until(lambda document: document["supervision"]["waiting"] == {"external": ["secondary"]}, "who waits")
    report = reload(host)
    assert entry_of(report, "secondary")["outcome"] == "restarted"
    assert entry_of(report, "external")["outcome"] == "restarted"
    assert not host.status()["supervision"]["degraded"] and all_active(host.status())
    assert_one_boundary(host)
    host.respawn("secondary")  # its past is forgotten


def test_a_group_that_restarts_while_profiles_change_is_in_one_epoch_with_all(host: RunningHost) -> None:
    """Both loops of the group are asked to end, one for its profile, and the other one dies."""
    thread, pid = held(host, "third/probed"), host.pids()["forth"]
    set_loop(host, "third", read=[made(host, "read-b")])
    report = during(host, lambda: os.kill(pid, signal.SIGKILL))
    thread.join()
    assert entry_of(report, "third")["outcome"] == "restarted"
    assert entry_of(report, "forth")["outcome"] == "restarted"
    host.until(all_active, "everybody active")
    assert_one_boundary(host)


@pytest.mark.shared_door
def test_a_reload_that_finds_a_group_on_its_way_takes_it_along(host: RunningHost) -> None:
    thread = held(host, "third/probed")
    set_loop(host, "third", read=[made(host, "read-c")])
    set_loop(host, "secondary", read=[made(host, "read-c")])
    before = len(host.console)
    host.kill("forth")
    host.wait_for("^forth +died", after=before)
    report = reload(host)
    thread.join()
    assert outcomes(report) == {
        "primary": "unchanged", "secondary": "restarted", "third": "restarted", "forth": "restarted",
        "primary.facts": "unchanged",
        "external": "unchanged",
    }  # fmt: skip
    assert_one_boundary(host)


def test_a_restart_by_hand_waits_for_the_end_of_a_reload(host: RunningHost) -> None:
    thread = held(host, "third/probed")
    set_loop(host, "third", read=[made(host, "read-d")])
    answers: list[dict[str, Any]] = []
    during(host, lambda: answers.append(restart(host, "forth")))
    thread.join()
    assert answers == [{"unavailable": "a reload is being carried out: try again when it is done"}]
    answer = restart(host, "forth")
    assert [(loop["name"], loop["state"]) for loop in answer["loops"]] == [("third", "active"), ("forth", "active")]
    assert Path(f"/proc/{answer['loops'][0]['pid']}").is_dir()
    assert_one_boundary(host)
