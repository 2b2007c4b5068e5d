"""A running host with each engine of the channels: large and many calls, a new Primary, threads, nothing refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running
from probes.sandbox_runner import MODES

from tlsrt.config.schema import DEFAULT_LOOPS

TASKS = {"libzmq": 3, "native": 1}  # of a loop that makes no threads of its own
EVERYDAY = {loop: f"{loop}/everyday" for loop in DEFAULT_LOOPS}


@dataclass(frozen=True, slots=True)
class World:
    """A host, and what its loops speak through."""

    host: RunningHost
    engine: str


@pytest.fixture(scope="module", params=[(engine, mode) for mode in MODES for engine in TASKS], ids="-".join)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    engine, mode = request.param
    for host in running(
        request, mode=mode, packages=[PACKAGE], extra={"channels": {"engine": engine}},
        components={each: {"class": "captured.everyday:Everyday", "process": "shared"} for each in EVERYDAY.values()},
        policy={f"client/admin -> {address}": "*" for address in EVERYDAY.values()},
    ):  # fmt: skip
        yield World(host, engine)


def test_calls_of_every_size_before_and_after_a_new_primary(world: World) -> None:
    """The loops stay; each finds the new Primary on the same listener."""
    for life in range(2):
        with world.host.client() as client:
            for size in (1, 5_000, 200_000):
                value = os.urandom(size)
                client.call("secondary/store", "put", f"life{life}", value)
                assert client.call("secondary/store", "get", f"life{life}") == value
            for address in EVERYDAY.values():
                assert client.call(address, "numbers")[-2] > 30
        if not life:
            before = world.host.pids()
            world.host.respawn("primary")
            after = world.host.pids()
            assert {name for name in before if before[name] != after[name]} == {"primary"}


def test_only_the_resolver_and_disks_have_threads_beside_libzmq(world: World) -> None:
    with world.host.client() as client:
        assert client.call(EVERYDAY["external"], "thread") == "done"
        assert client.call(EVERYDAY["external"], "resolve") == ["127.0.0.1", "no such name"]
        assert "thread" in client.call(EVERYDAY["third"], "thread")
    found = {name: len(os.listdir(f"/proc/{pid}/task")) for name, pid in world.host.pids().items()}
    assert (found["authority"], found["primary"]) == (3, 1)  # one writes the audit log, one the state
    assert found["forth"] == TASKS[world.engine]
    assert (found["secondary"], found["third"]) == (TASKS[world.engine] + 1,) * 2, "one waits for the disk"
    assert found["external"] > TASKS[world.engine]


def test_the_smaller_profile_is_explained(world: World) -> None:
    for loop in ("third", "primary"):
        done = world.host.cli("sandbox", "explain", loop, "sched_setscheduler", "0", "SCHED_OTHER")
        assert done.returncode == int(loop == "primary" or world.engine == "native"), done.stdout
    shown = world.host.cli("sandbox", "show", "third").stdout
    assert ("libzmq" in shown) is (world.engine == "libzmq")


def test_nothing_was_refused_meanwhile(world: World) -> None:
    """Beyond the thread that the test above has asked for."""
    for loop in world.host.status()["loops"]:
        assert loop["violations"] <= (loop["name"] == "third"), loop
