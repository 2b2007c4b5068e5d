"""The verb `events` on a real control socket: readers of every speed, and attacks on the stream."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tlsrt.supervisor.control.event_feed import ROOM_BYTES, EventFeed
from tlsrt.supervisor.control.server import ControlSocket
from tlsrt.supervisor.control.stream import STALL_S
from tlsrt.supervisor.events.bus import RING_EVENTS, EventBus
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.unix_path import short_path
from tlsrt.supervisor.supervision.feature import ControlVerb, StreamVerb


class Host:
    """A control socket with the verb, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.folder = folder
        self.event_loop = EventLoop(lambda: self.now)
        self.bus = EventBus()
        self.feed = EventFeed(self.event_loop, self.bus)
        status = ControlVerb(lambda request, reply: reply({"answer": 42}))
        verbs: dict[str, ControlVerb | StreamVerb] = {"events": StreamVerb(self.feed.serve), "status": status}
        self.control = ControlSocket(self.event_loop, folder, verbs)

    def turn(self, times: int = 10) -> None:
        for _ in range(times):
            self.event_loop.call_later(0, lambda: None)
            self.event_loop.run_once()

    def ask(self, **wish: object) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(self.folder, "control.sock") as path:
            client.connect(path)
        client.sendall(json.dumps({"verb": "events", **wish}).encode() + b"\n")
        client.setblocking(False)
        self.turn()
        return client

    def read(self, client: socket.socket) -> list[dict[str, Any]]:
        """Return what comes while the host goes on, until nothing comes any more."""
        received = bytearray()
        while True:
            self.turn(3)
            try:
                piece = client.recv(1 << 20)
            except BlockingIOError:
                break
            if not piece:
                break
            received += piece
        return [json.loads(line) for line in received.splitlines()]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.control.close()
    made.event_loop.close()


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events]


def test_without_follow_the_kept_events_and_the_end(host: Host) -> None:
    for _ in range(RING_EVENTS + 500):
        host.bus.emit("epoch", "authority", "x" * 300)
    client = host.ask()
    assert seqs(host.read(client)) == list(range(501, RING_EVENTS + 501))  # more than fits into a queue at once
    client.setblocking(True)
    assert client.recv(1) == b""
    client.close()


def test_since_and_kinds(host: Host) -> None:
    for name in ("died", "epoch", "session_opened", "epoch"):
        host.bus.emit(name, "third")
    for wish, expected in (
        ({"since": 2}, [3, 4]),
        ({"since": 4}, []),
        ({"since": 99}, [1, 2, 3, 4]),  # of a life before that was killed
        ({"kinds": ["lifecycle", "session"]}, [1, 3]),
        ({"since": 1, "kinds": ["security"]}, [2, 4]),
    ):
        with host.ask(**wish) as client:
            assert seqs(host.read(client)) == expected


def test_since_tells_what_is_no_longer_kept(host: Host) -> None:
    for _ in range(RING_EVENTS + 500):
        host.bus.emit("epoch", "authority")
    with host.ask(since=100) as client:
        assert host.read(client)[0] == {"dropped": 400}


def test_a_follower_gets_what_comes(host: Host) -> None:
    host.bus.emit("died", "third")
    with host.ask(follow=True) as client:
        assert seqs(host.read(client)) == [1]
        host.bus.emit("active", "third")
        host.bus.emit("epoch", "authority")
        assert seqs(host.read(client)) == [2, 3]
        host.now += 100 * STALL_S
        host.turn()
        host.bus.emit("stopped", "supervisor")
        host.feed.flush()
        host.control.close()
        assert seqs(host.read(client)) == [4]


@pytest.mark.parametrize(
    "wish",
    [
        {"since": -1}, {"since": "1"}, {"since": True}, {"since": 1.5}, {"follow": 1}, {"kinds": "health"},
        {"kinds": [[]]}, {"kinds": ["secrets"]},
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_refused(host: Host, wish: dict[str, object]) -> None:
    with host.ask(**wish) as client:
        [answer] = host.read(client)
        assert answer["error"] in ("bad_request", "unknown_kind")
    assert not host.feed._cursors


def test_a_follower_that_never_reads_holds_up_nobody_and_is_closed(host: Host) -> None:
    sleeper = host.ask(follow=True)
    reader = host.ask(follow=True)
    got: list[int] = []
    for number in range(20):
        for _ in range(500):
            host.bus.emit("violation", "third", "x" * 200, number=number)
        got += seqs(host.read(reader))
        assert all(follower.waiting <= 2 * ROOM_BYTES for follower in host.feed._cursors)
    assert got == list(range(1, 10_001))  # whoever reads misses nothing
    host.now += STALL_S + 1
    host.turn()
    assert len(host.feed._cursors) == 1
    sleeper.setblocking(True)
    assert sum(map(len, iter(lambda: sleeper.recv(1 << 20), b""))) < 2_000_000
    for client in (sleeper, reader):
        client.close()
    host.turn()
    assert not host.feed._cursors


def test_a_slow_follower_is_told_how_many_it_lost(host: Host) -> None:
    client = host.ask(follow=True)
    for _ in range(40):
        for _ in range(1000):
            host.bus.emit("violation", "third", "x" * 200)
        host.turn(2)
    events = host.read(client)
    expected = 1
    for event in events:
        expected += event.get("dropped", 0)
        if "seq" in event:
            assert event["seq"] == expected
            expected += 1
    assert expected == 40_001
    assert any("dropped" in event for event in events)
    client.close()


def test_one_that_leaves_in_the_middle_of_a_line_is_forgotten(host: Host) -> None:
    for _ in range(RING_EVENTS):
        host.bus.emit("epoch", "authority", "x" * 300)
    client = host.ask(follow=True)
    client.recv(1234)
    client.close()
    host.bus.emit("epoch", "authority")
    host.turn()
    assert not host.feed._cursors and not host.control._followers


def test_events_cost_little_when_nobody_follows(host: Host) -> None:
    """Ten thousand a second must leave the supervisor its time; no line is made, and no timer is set."""
    began = time.process_time()
    for _ in range(10_000):
        host.bus.emit("violation", "third", "socket(2, 1, 0)", pid=5, call="socket", ends=False)
    assert time.process_time() - began < 1.0
    assert not host.event_loop._timers
    assert not any(event._lines for event in host.bus.after(0))
