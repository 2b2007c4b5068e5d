"""Draining: what is under way when a loop, Primary or the host ends, and what clients at the door are told."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import PROBED
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.client.connection import client_context
from tlsrt.errors import CallError
from tlsrt.supervisor.control.client import ControlClient

STOP_S = 3.0  # half of it for draining
LONG_S = 60.0


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED, limits={"stop_timeout_s": STOP_S})


class InFlight:
    """A call in a thread of its own."""

    def __init__(self, client: Client, target: str, seconds: float) -> None:
        self.outcome: Any = None
        self.took_s = 0.0
        self._call: Callable[[], Any] = lambda: client.call(target, "held", seconds, timeout_s=LONG_S)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            self.outcome = self._call()
        except CallError as error:
            self.outcome = error.code
        self.took_s = time.monotonic() - began

    def end(self) -> Any:
        self._thread.join(LONG_S)
        return self.outcome


def begun(host: RunningHost, target: str, *seconds: float) -> list[InFlight]:
    """Begin calls, and make sure that they have arrived."""
    calls: list[InFlight] = []
    for each in seconds:
        client = host.client()
        client.call(target, "add", 0)
        calls.append(InFlight(client, target, each))
    asker = host.client()
    for _ in range(20):
        asker.call(target, "add", 0)  # whoever sent before these is there by now
    return calls


def restart(host: RunningHost, loop: str) -> dict[str, Any]:
    with host._as_operator(), ControlClient(host.config.run_dir) as client:
        answer = client.ask("restart", timeout_s=LONG_S, loop=loop)
    assert not answer["failed"], answer
    entry: dict[str, Any] = answer["loops"][0]
    return entry


@pytest.mark.parametrize(
    ("target", "loop"), [("third/probed", "third"), ("third/probed", "primary"), ("primary/probed", "primary")]
)
def test_what_can_finish_in_time_does_and_what_cannot_fails_in_time(host: RunningHost, target: str, loop: str) -> None:
    before = host.loop(loop)["pid"]
    short, long = begun(host, target, 0.5, LONG_S)
    restart(host, loop)
    assert short.end() == "done"
    assert long.end() == "outcome_unknown"
    assert long.took_s < STOP_S + 2.0, "long before its deadline"
    assert host.loop(loop)["pid"] != before
    assert host.client().call(target, "add", 0) == 0


def test_without_anything_under_way_nobody_waits(host: RunningHost) -> None:
    restart(host, "third")  # another test may have left something under way
    host.client().call("third/probed", "add", 0)
    for loop in ("third", "primary"):
        assert restart(host, loop)["took_ms"] < STOP_S / 2 * 1000


@contextmanager
def starved(pid: int) -> Iterator[None]:
    """Let the threads of libzmq in a process run only when their processor has nothing else to do."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    threads = [int(task.name) for task in tasks if (task / "comm").read_text().startswith("ZMQbg")]
    assert len(threads) == 2
    processor = min(os.sched_getaffinity(0))
    busy = f"import os\nos.sched_setaffinity(0, {{{processor}}})\nwhile True: pass"
    burner = subprocess.Popen([sys.executable, "-c", busy])
    try:
        for thread in threads:
            os.sched_setaffinity(thread, {processor})
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        yield
    finally:
        burner.kill()
        burner.wait()


@pytest.fixture
def threaded(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED, limits={"stop_timeout_s": STOP_S}, extra={"channels": {"engine": "libzmq"}})


def test_an_answer_of_the_last_moment_arrives_however_slow_the_thread_that_carries_it(threaded: RunningHost) -> None:
    (call,) = begun(threaded, "third/probed", 0.3)
    with starved(threaded.pids()["third"]):
        restart(threaded, "third")
        assert call.end() == "done"


def greeted(host: RunningHost) -> ssl.SSLSocket:
    """Connect at the door as any TLS program would, one that takes a cut connection for an error."""
    bundle = host.bundle("admin")
    plain = socket.create_connection(("127.0.0.1", host.port), LONG_S)
    client = client_context(bundle).wrap_socket(plain, server_hostname=bundle.server_name, suppress_ragged_eofs=False)
    assert client.recv(4096), "the challenge"
    return client


def said_at_the_end(client: ssl.SSLSocket) -> bytes:
    """Read to the end; without close_notify this is an SSLEOFError."""
    found = b""
    with client:
        while data := client.recv(4096):
            found += data
    return found


def test_clients_at_the_door_are_told_and_get_a_close_notify(host: RunningHost) -> None:
    client = greeted(host)
    restart(host, "primary")
    assert b"draining" in said_at_the_end(client)


def test_a_cut_connection_would_be_seen(host: RunningHost) -> None:
    client = greeted(host)
    host.kill("primary")
    with pytest.raises((ssl.SSLError, ConnectionError)):  # before Python 3.11.4 not yet an SSLEOFError
        said_at_the_end(client)
    host.until(lambda document: host.loop("primary")["state"] == "active", "an active Primary")


def test_at_the_end_of_a_host_answers_still_leave_and_clients_get_a_close_notify() -> None:
    with RunningHost(**PROBED, limits={"stop_timeout_s": STOP_S}) as host:
        short, long = begun(host, "third/probed", 0.5, LONG_S)
        (own,) = begun(host, "primary/probed", 2.0)
        client = greeted(host)
        assert host.process is not None
        host.process.send_signal(signal.SIGTERM)
        assert b"draining" in said_at_the_end(client)
        assert (short.end(), long.end()) == ("done", "outcome_unknown")
        assert own.end() in ("done", "outcome_unknown")
        assert host.stop() == 0
