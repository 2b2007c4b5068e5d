"""Attacked sentence: a datagram socket with `replies` answers who has sent something to it, and no one else."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, free_port, running
from tools.programs import need

COMPONENT = "third/replies"
CLUB, CLUB_PORT = "239.255.77.7", free_port()
LOOPBACK = bytes(4) + bytes(4) + struct.pack("@i", socket.if_nametoindex("lo"))  # struct ip_mreqn
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or "cgroup2" not in Path("/proc/self/mounts").read_text(),
    reason="programs are attached to control groups by root",
)


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def world(request: pytest.FixtureRequest) -> Iterator[tuple[RunningHost, tuple[str, int]]]:
    place = request.param, free_port()
    beacon = {"name": "beacon", "port": place[1], "host": place[0], "protocol": "udp", "replies": True, "why": "a test"}
    club = {**beacon, "name": "club", "port": CLUB_PORT, "group": CLUB, "interface": "lo"}
    second = {**beacon, "name": "second", "host": "127.0.0.2"}
    hosts = running(
        request, packages=[PACKAGE],
        components={COMPONENT: {"class": "captured.doors:Replies", "needs": {"listen": [beacon, club, second]}}},
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


def test_another_socket_of_the_same_port_has_not_heard_from_them(world: tuple[RunningHost, tuple[str, int]]) -> None:
    host, place = world
    with peer("127.0.0.1") as known, host.client() as client:
        if place[0] == "127.0.0.1":
            known.sendto(b"ping", place)
            assert known.recv(64) == b"ping"
        assert client.call(COMPONENT, "speak", *known.getsockname(), "second") == "EPERM"
        known.sendto(b"ping", ("127.0.0.2", place[1]))
        assert known.recv(64) == b"ping"
        assert client.call(COMPONENT, "speak", *known.getsockname(), "second") == "allowed"


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


def test_a_member_of_a_group_hears_it_and_speaks_to_it_alone(world: tuple[RunningHost, tuple[str, int]]) -> None:
    host, _ = world
    with peer("127.0.0.1") as known, peer("127.0.0.1") as other, host.client() as client, member() as heard:
        known.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, LOOPBACK)
        known.sendto(b"ping", (CLUB, CLUB_PORT))
        assert known.recv(64) == b"ping" and heard.recv(64) == b"ping"
        assert client.call(COMPONENT, "speak", CLUB, CLUB_PORT, "club") == "allowed"
        assert heard.recv(64) == b"speak"
        for place in (("239.255.77.8", CLUB_PORT), (CLUB, CLUB_PORT ^ 1), other.getsockname()):
            assert client.call(COMPONENT, "speak", *place, "club") == "EPERM"
        assert client.call(COMPONENT, "speak", CLUB, CLUB_PORT, "beacon") != "allowed"  # of which it is no member


def member() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(CLUB) + LOOPBACK[4:])
    made.bind((CLUB, CLUB_PORT))
    made.settimeout(10)
    return made


SCENE = """
import socket, struct, subprocess, time
from pathlib import Path
from tlsrt.config.listeners import ListenConfig, Listener
from tlsrt.supervisor.process.listeners import component_listener
GROUP = "ff05::7709"
Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
for name in ("own", "near"):
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}_end"], check=True)
    for end in (name, f"{name}_end"):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)
asked = ListenConfig("in", 7777, "a test", "127.0.0.1", "udp", group=GROUP, interface="own", where="f:1:1")
ours = socket.socket(fileno=component_listener(Listener("third.a", "third/a", asked), lambda: None))
other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
member = socket.inet_pton(socket.AF_INET6, GROUP) + struct.pack("@I", socket.if_nametoindex("near"))
other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
other.bind(("::", 7777))
other.settimeout(10)
for name in ("near_end", "own_end"):  # a neighbour on each link
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(name))
        until = time.monotonic() + 10
        while True:
            try:
                sender.sendto(name.encode(), (GROUP, 7777))
                break
            except OSError:  # the kernel has not seen yet that the link is up
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
    print("other", other.recv(64).decode())
ours.settimeout(10)
print("ours", ours.recv(64).decode())
ours.setblocking(False)
try:
    print("ours", ours.recv(64).decode())
except BlockingIOError:
    print("no more")
"""


def test_a_group_of_ipv6_is_not_heard_from_another_link_that_a_program_of_the_host_has_joined() -> None:
    """Two links in a network namespace of its own."""
    need("unshare")
    said = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", SCENE], check=False, capture_output=True, text=True, timeout=60
    )
    assert said.stdout.split() == ["other", "near_end", "other", "own_end", "ours", "own_end", "no", "more"], (
        said.stderr
    )
