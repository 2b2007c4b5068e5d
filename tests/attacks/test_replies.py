"""Attacked sentence: a datagram socket with `replies` answers who has sent something to it, and nobody else."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, free_port, running

COMPONENT = "third/replies"
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or "cgroup2" not in Path("/proc/self/mounts").read_text(),
    reason="programs are attached to control groups by root",
)


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def world(request: pytest.FixtureRequest) -> Iterator[tuple[RunningHost, tuple[str, int]]]:
    place = request.param, free_port()
    beacon = {"name": "beacon", "port": place[1], "host": place[0], "protocol": "udp", "replies": True, "why": "a test"}
    hosts = running(
        request, packages=[PACKAGE],
        components={COMPONENT: {"class": "captured.doors:Replies", "needs": {"listen": [beacon]}}},
        policy={f"client/admin -> {COMPONENT}": "*"},
    )  # fmt: skip
    for host in hosts:
        yield host, place


def peer(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.settimeout(10)
    return made


def test_who_has_sent_something_is_answered_and_nobody_else(world: tuple[RunningHost, tuple[str, int]]) -> None:
    host, place = world
    with peer(place[0]) as known, peer(place[0]) as other, host.client() as client:
        known.sendto(b"ping", place)
        assert known.recv(64) == b"ping"
        assert client.call(COMPONENT, "speak", *known.getsockname()[:2]) == "allowed"
        assert known.recv(64) == b"speak"
        assert client.call(COMPONENT, "speak", *other.getsockname()[:2]) == "EPERM"
        assert client.call(COMPONENT, "speak", place[0], known.getsockname()[1] ^ 1) == "EPERM"
        assert client.call(COMPONENT, "connect_and_speak", *other.getsockname()[:2]) in ("EACCES", "EPERM")
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(64)


def test_the_next_process_has_one_that_is_held_too(world: tuple[RunningHost, tuple[str, int]]) -> None:
    host, place = world
    host.respawn("third.replies")
    with peer(place[0]) as known, peer(place[0]) as other, host.client() as client:
        assert client.call(COMPONENT, "speak", *other.getsockname()[:2]) == "EPERM"
        known.sendto(b"ping", place)
        assert known.recv(64) == b"ping"


def test_it_is_told_where_an_operator_looks(world: tuple[RunningHost, tuple[str, int]]) -> None:
    host, place = world
    shown = " ".join(host.cli("sandbox", "show", "third.replies").stdout.split())
    assert f"{place[1]}/udp, and may send from there to who has sent something to it within 5 minutes" in shown
