"""Attacked sentence: what a loop tries and may not reaches the supervisor with pid, call and loop, and has an end."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest
from attackers.arena import CONSOLE, STAGE
from hosts.running_host import RunningHost, running

from tlsrt.errors import CallError
from tlsrt.supervisor.control.client import ControlClient

AF_INET, SOCK_STREAM = 2, 1
POINTER = 4096


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Any:
    yield from running(request, **{**STAGE, "detection": {}})


def try_call(host: RunningHost, name: str, *arguments: int) -> str:
    client = host.client()
    try:
        return str(client.call(CONSOLE, "call_kernel", name, list(arguments), timeout_s=2.0))
    except CallError as error:
        return str(error.code)
    finally:
        client.close()


def test_a_refused_call_is_told_with_its_registers_and_charged(host: RunningHost) -> None:
    before = host.loop("third")
    assert try_call(host, "socket", AF_INET, SOCK_STREAM, 0) == "EPERM"
    host.until(lambda document: host.loop("third")["violations"] > before["violations"], "the violation")
    # which the supervisor counts itself; the points come back from the authority
    host.until(lambda document: host.loop("third")["anomaly"] >= before["anomaly"] + 1, "the points")
    after = host.loop("third")
    assert after["pid"] == before["pid"] and after["restarts"] == before["restarts"]
    assert after["last_violation"].startswith("socket(2, 1, 0")
    assert re.search(rf"socket\(2, 1, 0.*\(pid {after['pid']}, violation \d+\)", host.wait_for("third +refused"))


def test_a_call_that_nobody_may_make_ends_the_loop_and_says_which(host: RunningHost) -> None:
    before = host.loop("third")
    assert try_call(host, "execve", POINTER, POINTER, POINTER) in ("outcome_unknown", "unavailable")
    host.until(lambda document: host.loop("third")["restarts"] > before["restarts"], "the next third")
    host.until(lambda document: host.loop("third")["state"] == "active", "an active third")
    host.until(lambda document: host.loop("third")["anomaly"] >= 35, "the points, which are gathered for a moment")
    after = host.loop("third")
    assert after["last_death"]["cause"] == "policy"
    assert after["last_death"]["sentence"].startswith("violation: execve(0x1000, 0x1000, 0x1000")
    assert host.loop("secondary")["restarts"] == 0


def test_whoever_keeps_trying_is_shut_out_until_an_operator_or_its_time_ends_that(host: RunningHost) -> None:
    before, end = host.loop("third"), time.monotonic() + 60
    outcomes: list[str] = []  # on a busy machine one or the other may get no answer in time; none is allowed
    try:
        while CONSOLE not in (document := host.status())["quarantined"]:
            assert time.monotonic() < end, f"not in quarantine after {Counter(outcomes)}"
            outcomes.append(try_call(host, "socket", AF_INET, SOCK_STREAM, 0))
        assert len(outcomes) > 10 and outcomes.count("EPERM") > 5 and "allowed" not in outcomes, Counter(outcomes)
        assert outcomes.count("EPERM") < 64, Counter(outcomes)
        third = next(loop for loop in document["loops"] if loop["name"] == "third")
        assert third["anomaly"] >= 70 and third["restarts"] == before["restarts"]
        assert document["quarantined"] == ["third/captured", "third/io", "third/thief"]
    finally:
        with ControlClient(host.config.run_dir) as client:
            released = client.ask("release", name="third")
    assert len(released["subjects"]) == 4
    host.until(lambda document: document["quarantined"] == [], "nobody in quarantine")
    host.until(lambda _: try_call(host, "socket", AF_INET, SOCK_STREAM, 0) == "EPERM", "an answer of third")


def a_round_later(host: RunningHost) -> None:
    """Wait for a beat of third: between two of them it is looked at."""
    seen = host.loop("third")["frames"]["in"]
    host.client().call(CONSOLE, "poke", 1)
    host.until(lambda document: bool(host.loop("third")["frames"]["in"] > seen), "a beat")


def test_a_loop_that_uses_up_its_descriptors_is_told_and_charged_and_one_that_uses_most_is_not(
    host: RunningHost,
) -> None:
    client = host.client()
    assert client.call(CONSOLE, "take_descriptors", 32) > 100
    for _ in range(2):
        a_round_later(host)
    assert not [line for line in host.console if re.search("third +limit", line)]
    client.call(CONSOLE, "take_descriptors", 0)
    assert "descriptors are open" in host.wait_for("^third +limit ")
    client.call(CONSOLE, "give_descriptors_back")
    host.until(lambda document: host.loop("third")["anomaly"] >= 10, "the points")
    assert re.search(r"^limit +1 +1 +15 ", host.cli("anomalies").stdout, re.M)
