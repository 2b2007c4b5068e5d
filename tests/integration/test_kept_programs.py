"""Programs that stay, on a real host: they are begun again, talk over descriptor 3, and end with their component."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

PACKAGE = Path(__file__).parent.parent / "hosts" / "kept_package" / "kept"
KEEPER = "third/keeper"
WHY = "a test keeps it running"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
SHELL: dict[str, Any] = {"run": "/bin/sh", "args": ["-c {script:text}"], "why": WHY, "life": "kept", "scratch_mb": 1}
ECHO = "echo begun; trap 'echo asked to end; exit 0' TERM; while read line <&3; do echo \"it says $line\" >&3; done"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    components = {
        KEEPER: {
            "class": "kept.keeper:Keeper",
            "programs": {"echo": SHELL | {"talks": True}},
            "options": {"keep": [["echo", "-c", ECHO]]},
        },
    }
    policy = {f"client/admin -> {address}": "*" for address in components}
    yield from running(request, components=components, policy=policy, packages=[PACKAGE])


def state_of(host: RunningHost, name: str, address: str = KEEPER) -> dict[str, Any]:
    found: dict[str, Any] = host.client().call(address, "state_of", name)
    return found


def pid_of(host: RunningHost, process: str, name: str) -> int:
    """Return the pid of a program that runs, once it does."""
    found: list[int] = []

    def is_there(document: dict[str, Any]) -> bool:
        programs = next(one for one in document["loops"] if one["name"] == process)["programs"]
        found[:] = [run["pid"] for one in programs if one["name"] == f"{process}/{name}" for run in one["running"]]
        return bool(found)

    host.until(is_there, f"a run of {name}")
    return found[0]


def until(host: RunningHost, what: str, is_so: Callable[[], bool]) -> None:
    host.until(lambda _: is_so(), what)


def test_it_talks_over_descriptor_3_and_writes_to_the_log(host: RunningHost) -> None:
    assert host.client().call(KEEPER, "say", "echo", "hello") == "it says hello\n"
    found = state_of(host, "echo")
    assert (found["state"], found["number"], found["restarts"]) == ("running", 1, 0)
    assert "echo #1: begun" in host.log("third.keeper")
    pid = pid_of(host, "third.keeper", "echo")
    assert {*os.listdir(f"/proc/{pid}/fd")} - {"10"} == {"0", "1", "2", "3"}, "10 is a copy that this shell makes"


def test_its_component_can_have_it_end_and_begin_again(host: RunningHost) -> None:
    before = pid_of(host, "third.keeper", "echo")
    number = state_of(host, "echo")["number"]
    host.client().call(KEEPER, "end", "echo")
    until(host, "the next run", lambda: pid_of(host, "third.keeper", "echo") != before)
    assert host.client().call(KEEPER, "say", "echo", "again") == "it says again\n"
    found = state_of(host, "echo")
    assert found["number"] == number + 1 and found["last"] == "the test asks for it"
    assert "echo #1: asked to end" in host.log("third.keeper"), "it had a moment to end by itself"


def test_killed_it_is_begun_again_and_told(host: RunningHost) -> None:
    before, number = pid_of(host, "third.keeper", "echo"), state_of(host, "echo")["number"]
    os.kill(before, signal.SIGKILL)
    until(host, "the next run", lambda: pid_of(host, "third.keeper", "echo") != before)
    found = state_of(host, "echo")
    assert found["number"] == number + 1 and "signal" in found["last"], found
    programs = host.loop("third.keeper")["programs"]
    assert programs[0]["ends"]["signalled"] == 1


def test_it_ends_with_its_component(host: RunningHost) -> None:
    before, own = pid_of(host, "third.keeper", "echo"), host.pids()["third.keeper"]
    os.kill(own, signal.SIGKILL)
    until(host, "another component", lambda: host.pids().get("third.keeper") not in (None, own))
    assert pid_of(host, "third.keeper", "echo") != before
    assert not Path(f"/proc/{before}").exists()
