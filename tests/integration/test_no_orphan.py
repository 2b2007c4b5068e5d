"""Whoever is killed, whenever: nobody is left over, and nobody is there twice."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pytest
from hosts.host_processes import mark_of
from hosts.running_host import RunningHost, running

GONE_S = 1.0  # what is promised; it takes about a tenth of that
PATIENT = {"restart": {"first_s": 0.001, "cap_s": 0.01, "deaths": 1000}}
STRESS = [pytest.mark.stress, pytest.mark.timeout(600)]


def living(host: RunningHost) -> set[int]:
    """Return every process with the mark of a host in its environment, whoever its parent is now."""
    return {process.pid for process in psutil.process_iter() if mark_of(process.pid) == host._mark}


def seconds_until_gone(pids: list[int]) -> float:
    """Wait on descriptors of the processes themselves; return when the last one ended."""
    began = time.monotonic()
    for pidfd in pids:
        assert select.select([pidfd], [], [], 20)[0], "somebody outlives the host"
        os.close(pidfd)
    return time.monotonic() - began


@pytest.mark.parametrize("rounds", [4, pytest.param(50, marks=STRESS)])
def test_a_supervisor_that_is_killed_at_any_moment_leaves_nobody_and_the_next_start_makes_one_copy(rounds: int) -> None:
    """Every second time in the middle of a start, when some loops are there and others not yet."""
    host, took = RunningHost(), []
    try:
        for number in range(rounds):
            host.start(until="^ready" if number % 2 == 0 else "^primary +active")
            pids = host.all_pids()
            assert len(set(pids.values())) == len(pids) <= 11, "the launcher, four of the host, loops"
            if number % 2 == 0:
                assert living(host) == set(pids.values()), "and no second copy"
            left = [os.pidfd_open(pid) for pid in living(host)]
            os.kill(pids["supervisor"] if number % 4 < 2 else pids["launcher"], signal.SIGKILL)
            took.append(seconds_until_gone(left))
            assert living(host) == set()
            assert host.process is not None
            with host.process as process:
                process.wait()
        assert sorted(took)[len(took) // 2] < GONE_S and max(took) < 5 * GONE_S, took
        host.start()
        assert living(host) == set(host.all_pids().values())
        assert host.stop() == 0
    finally:
        host.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, extra={"supervision": PATIENT})


def all_but(dead: set[int], status: dict[str, Any]) -> bool:
    """Tell whether all are active, and none of these."""
    entries = [status["authority"], *status["loops"]]
    return all(entry["state"] == "active" and entry["pid"] not in dead for entry in entries)


@pytest.mark.parametrize("victims", [("authority",), ("primary",), ("primary", "authority"), ("third", "primary")])
@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=STRESS)])
def test_whoever_is_killed_comes_again_once(host: RunningHost, victims: tuple[str, ...], rounds: int) -> None:
    for _ in range(rounds):
        before = host.all_pids()
        for name in random.sample(victims, len(victims)):
            os.kill(before[name], signal.SIGKILL)
        dead = {before[name] for name in victims}
        host.until(partial(all_but, dead), "everybody back")
        after = host.all_pids()
        assert living(host) == set(after.values()), "nobody else"
        assert {name for name in after if after[name] != before[name]} == {*victims}
    client = host.client()
    client.call("secondary/store", "put", "x", rounds)
    assert client.call("secondary/store", "get", "x") == rounds
