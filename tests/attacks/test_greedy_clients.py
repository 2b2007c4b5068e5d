"""Attacked sentence: what one client may ask for legally slows no other client's calls, whatever it costs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import Client

TESTS = Path(__file__).parent.parent
CALLS = 200
TIMES_MOST, MOST_S = 5.0, 0.05  # for a busy machine of two processors; quiet, it is about twice 1.5 ms


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, clients=["greedy", "innocent"],
        policy={
            "client/greedy -> */*": "*", "client/innocent -> third/io": ["list"],
            "client/innocent -> primary/kernel": ["uname"],
        },
    )  # fmt: skip


@contextmanager
def greedy(host: RunningHost, target: str, method: str, count: int) -> Iterator[dict[str, int]]:
    """Have the greedy client at work; the dict has what it got, afterwards."""
    command = [sys.executable, "-m", "attackers.greedy_client", str(host.folder / "greedy.tlsrt"), target, method]
    process = subprocess.Popen(
        [*command, str(count)], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    got: dict[str, int] = {}
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield got
        out, _ = process.communicate(timeout=60)
        got.update(json.loads(out))
    finally:
        process.kill()
        process.wait()


def times(client: Client, seconds: float) -> list[float]:
    """Return how long calls to another loop take, in s."""
    found: list[float] = []
    end = time.monotonic() + seconds
    while len(found) < CALLS or time.monotonic() < end:
        begin = time.perf_counter()
        client.call("third/io", "list")
        found.append(time.perf_counter() - begin)
    return sorted(found)


def p99(found: list[float]) -> float:
    return found[len(found) * 99 // 100]


@pytest.mark.parametrize(
    ("target", "method", "count"),
    [("primary/hardware", "summary", 60), ("primary/kernel", "watch", 2000), ("primary/events", "recent", 60)],
)
def test_an_innocent_call_to_another_loop_stays_quick(host: RunningHost, target: str, method: str, count: int) -> None:
    innocent = host.client("innocent")
    alone = times(innocent, 1.0)
    session = innocent.session_info["session"]
    with greedy(host, target, method, count) as got:
        beside = times(innocent, 2.0)
    medians = statistics.median(alone), statistics.median(beside)
    figures = [f"{1000 * each:.2f} ms" for each in (*medians, p99(alone), p99(beside))]
    print(f"{target} {method} x {count}: p50 {figures[0]} -> {figures[1]}, p99 {figures[2]} -> {figures[3]}, {got}")
    assert got["answered"] > 0
    if method == "watch":
        assert got["Busy"] > 0, "a client has so many streams at a component"
        events = [json.loads(line) for line in host.told('"over_budget"').splitlines()]
        assert "client/greedy" in {event["subject"] for event in events if event["name"] == "over_budget"}
    assert medians[1] < max(TIMES_MOST * medians[0], MOST_S), figures
    assert host.loop("primary")["restarts"] == 0
    assert innocent.session_info["session"] == session
