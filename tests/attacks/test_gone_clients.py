"""Attacked sentence: a client that is gone takes its calls along, and a queue behind a stream loses nothing.

A time in here is an upper bound for a loaded machine; what ran on before did so for 30 s to 180 s.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from attackers import gone_worker
from fakes.one_wire import OneWire
from hosts.flow_package.flowing import asker
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.client.connection import client_context

PACKAGE = Path(asker.__file__).parent
JOBS, OTHER = "secondary/jobs", "third/other"
ALL = ["w ask", "w call", "w stream", "w upload"]
SOON_S = 5.0
HEARD_S = 0.2
TIMES = 5


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request,
        components={each: {"class": "flowing.jobs:Jobs", "process": "shared"} for each in (JOBS, OTHER)},
        policy={
            f"client/* -> {JOBS}": "*", f"client/* -> {OTHER}": "*", f"{JOBS} -> {OTHER}": ["hold"],
        },
        clients=["w", "web"], http=["web"], packages=[PACKAGE],
    )  # fmt: skip


@pytest.fixture(scope="module")
def admin(host: RunningHost) -> Client:
    return host.client()


def running_at(admin: Client, component: str) -> list[str]:
    answer: list[str] = admin.call(component, "running", idempotent=True, timeout_s=20)
    return answer


def nothing_runs(admin: Client) -> bool:
    return not running_at(admin, JOBS) and not running_at(admin, OTHER)


@contextmanager
def working(host: RunningHost, admin: Client, *address: str) -> Iterator[subprocess.Popen[bytes]]:
    """A client in a process of its own, with a call of every kind under way."""
    arguments = [str(host.folder / "w.tlsrt"), "w", JOBS, OTHER, *address]
    process = subprocess.Popen(
        [sys.executable, gone_worker.__file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: running_at(admin, JOBS) == ALL and running_at(admin, OTHER) == ["for w ask"], 30)
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition: Callable[[], bool], within_s: float = SOON_S) -> float:
    """Wait until it is so; return how long that took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() < begin + within_s, "it goes on"
        time.sleep(0.01)
    return time.monotonic() - begin


def test_a_client_that_is_killed_takes_all_along_and_the_queue_loses_nothing(host: RunningHost, admin: Client) -> None:
    with working(host, admin) as process:
        admin.call(JOBS, "put", [1])
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        process.kill()
        took_s = until(lambda: nothing_runs(admin))
    print(f"a killed client's calls ended after {took_s * 1000:.0f} ms")
    assert admin.call(JOBS, "put", [2, 3, 4, 5, 6]) == 5
    stream = admin.stream(JOBS, "work", "next")
    assert [next(stream) for _ in range(5)] == [2, 3, 4, 5, 6]


def by_fin(host: RunningHost, admin: Client) -> float:
    with OneWire(host.port) as wire, working(host, admin, wire.address):
        return wire.fin()


def by_rst(host: RunningHost, admin: Client) -> float:
    with OneWire(host.port) as wire, working(host, admin, wire.address):
        return wire.rst()


def by_a_kill(host: RunningHost, admin: Client) -> float:
    with working(host, admin) as process:
        at = time.monotonic()
        process.kill()
        process.wait()
        return at


def by_ctrl_c(host: RunningHost, admin: Client) -> float:
    """A call and a stream, each of a command that is interrupted."""
    tlsrt = [sys.executable, "-m", "tlsrt.channels.cli.main", "--bundle", str(host.folder / "w.tlsrt")]
    words = [["call", JOBS, "hold", "w call"], ["call", JOBS, "work", "w stream"]]
    with ExitStack() as stack:
        commands = [stack.enter_context(subprocess.Popen([*tlsrt, *each], stdout=subprocess.DEVNULL)) for each in words]
        try:
            until(lambda: running_at(admin, JOBS) == ["w call", "w stream"], 30)
            at = time.monotonic()
            for command in commands:
                command.send_signal(signal.SIGINT)
            assert [command.wait(10) for command in commands] == [130, 130]
        finally:
            for command in commands:
                command.kill()
    return at


@pytest.mark.parametrize("leaves", [by_fin, by_rst, by_a_kill, by_ctrl_c])
def test_recipients_hear_at_once_of_a_client_that_is_gone(
    host: RunningHost, admin: Client, leaves: Callable[[RunningHost, Client], float]
) -> None:
    """Measured from its end to that of the last that ran for it: 1 to 16 ms on a loaded machine."""
    took: list[float] = []
    for _ in range(TIMES):
        at = leaves(host, admin)
        took.append(max(admin.call(each, "ended_at", timeout_s=20) for each in (JOBS, OTHER)) - at)
    print(f"{leaves.__name__}: ended after {', '.join(f'{each * 1000:.1f}' for each in sorted(took))} ms")
    assert statistics.median(took) < HEARD_S


def test_an_http_client_that_is_gone_leaves_no_stream(host: RunningHost, admin: Client) -> None:
    until(lambda: nothing_runs(admin))
    context = client_context(host.bundle("web"))
    context.set_alpn_protocols(["http/1.1"])
    connection = HTTPSConnection("127.0.0.1", host.port, context=context, timeout=20)
    fields = {"Accept": "text/event-stream", "Content-Type": "application/json"}
    connection.request("POST", f"/v1/call/{JOBS}/work", '["browser"]', fields)
    until(lambda: running_at(admin, JOBS) == ["browser"], 20)
    connection.close()
    until(lambda: nothing_runs(admin))


def test_a_client_that_is_revoked_leaves_nothing(host: RunningHost, admin: Client) -> None:
    with working(host, admin):
        assert host.cli("revoke", "client", "w").returncode == 0
        until(lambda: nothing_runs(admin))
    assert host.cli("restore", "client", "w").returncode == 0


def test_a_lock_leaves_nothing_that_runs(host: RunningHost, admin: Client) -> None:
    with working(host, admin) as process:
        assert host.cli("lock").returncode == 0
        process.kill()
        assert host.cli("unlock").returncode == 0
        until(lambda: nothing_runs(admin), 20)


def test_all_clients_are_gone_with_primary(host: RunningHost, admin: Client) -> None:
    with working(host, admin) as process:
        host.kill("primary")
        process.kill()
        until(lambda: nothing_runs(admin), 20)
