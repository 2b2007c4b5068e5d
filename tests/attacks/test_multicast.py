"""Attacked sentence: a listener of a group hears and reaches it on its own interface, and zeroconf lives on that.

A component announces and finds services by zeroconf, unpatched, and a peer in another network namespace does so too, by
zeroconf as any program has it. Both are linked by a veth pair; a second pair leads to where the component may not be.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.late_prelude import LatePrelude
from hosts.network_space import inside, ip
from hosts.running_host import RunningHost, running
from tools.programs import need

COMPONENT = "third/discovery"
HOST, PEER = f"tlsrt-h{os.getpid()}", f"tlsrt-p{os.getpid()}"
_IP_RECVTTL = 12
FOUR, SIX, PORT = "224.0.0.251", "ff02::fb", 5353
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or "cgroup2" not in Path("/proc/self/mounts").read_text(),
    reason="programs are attached to control groups by root",
)
# The supervisor makes the sockets of the component in the test's namespace, and looks at the interfaces there.
PRELUDE = """
import ctypes, os
import tlsrt.supervisor.launch.child_entries as entries
import tlsrt.supervisor.process.component_listeners as listeners
_libc = ctypes.CDLL(None, use_errno=True)

def _there(made):
    def wrapped(*arguments, **named):
        home, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/run/netns/SPACE", os.O_RDONLY)
        try:
            if _libc.setns(there, 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
            return made(*arguments, **named)
        finally:
            _libc.setns(home, 0x40000000)
            os.close(home)
            os.close(there)
    return wrapped

entries.interfaces_of = _there(entries.interfaces_of)
listeners.component_listener = _there(listeners.component_listener)
""".replace("SPACE", HOST)
NEIGHBOUR = """
import asyncio, socket, sys
from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
KIND = "_tlsrt._tcp.local."

async def main():
    zeroconf = AsyncZeroconf(interfaces=["10.77.0.2", int(sys.argv[1])], ip_version=IPVersion.All)
    lamp = ServiceInfo(
        KIND, f"lamp.{KIND}", addresses=[socket.inet_aton("10.77.0.2")], port=99, server="lamp.local.")
    await (await zeroconf.async_register_service(lamp, cooperating_responders=True))
    print("announced", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        found = AsyncServiceInfo(KIND, f"{line.strip()}.{KIND}")
        print(*found.parsed_addresses() if await found.async_request(zeroconf.zeroconf, 8000) else (), flush=True)
    await zeroconf.async_close()

asyncio.run(main())
"""


@contextmanager
def namespaces() -> Generator[None, None, None]:
    """Two namespaces and two links between them: `near` and `far` at the host, `near_end` and `far_end` at the peer."""
    for space in (HOST, PEER):
        ip("netns", "add", space)
        ip("netns", "exec", space, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up")
    for number, link in ((77, "near"), (78, "far")):
        ip("-n", HOST, "link", "add", link, "type", "veth", "peer", "name", f"{link}_end", "netns", PEER)
        for space, name, last in ((HOST, link, 1), (PEER, f"{link}_end", 2)):
            ip("-n", space, "addr", "add", f"10.{number}.0.{last}/24", "dev", name)
            ip("-n", space, "link", "set", name, "up")
    until = time.monotonic() + 10  # the kernel gives an address of the link once it has seen that both ends are up
    for space, name in ((HOST, "near"), (PEER, "near_end")):
        while "fe80" not in ip("-n", space, "-6", "addr", "show", name):
            assert time.monotonic() < until
            time.sleep(0.02)
    yield


@dataclass(frozen=True, slots=True)
class World:
    host: RunningHost
    neighbour: subprocess.Popen[str]

    def ask(self, method: str, *arguments: object) -> Any:
        with self.host.client() as client:
            return client.call(COMPONENT, method, *arguments)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    need("ip")
    mdns = {"port": PORT, "protocol": "udp", "replies": True, "interface": "near", "why": "announces the kettle"}
    listen = [{**mdns, "name": "mdns", "group": FOUR}, {**mdns, "name": "mdns6", "group": SIX}]
    try:
        with namespaces():
            with inside(PEER):
                index = socket.if_nametoindex("near_end")
            with subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{PEER}", sys.executable, "-c", NEIGHBOUR, str(index)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            ) as neighbour:  # fmt: skip
                assert neighbour.stdout is not None and neighbour.stdin is not None
                hosts = running(
                    request, packages=[PACKAGE], prelude=LatePrelude(PRELUDE),
                    components={COMPONENT: {"class": "captured.discovery:Discovery", "needs": {"listen": listen}}},
                    policy={f"client/admin -> {COMPONENT}": "*"},
                )  # fmt: skip
                try:
                    for host in hosts:
                        assert neighbour.stdout.readline() == "announced\n"
                        yield World(host, neighbour)
                finally:
                    neighbour.stdin.close()
                    neighbour.wait(10)
    finally:
        for space in (HOST, PEER):
            subprocess.run(["ip", "netns", "delete", space], check=False)


def test_both_find_each_other_and_nothing_of_zeroconf_is_refused(world: World) -> None:
    name, four, six = world.ask("interface", "mdns")
    assert (name, four) == ("near", "10.77.0.1/24") and six.startswith("fe80::")
    assert world.ask("find", "lamp") == ["10.77.0.2"]
    assert world.neighbour.stdin is not None and world.neighbour.stdout is not None
    world.neighbour.stdin.write("kettle\n")
    world.neighbour.stdin.flush()
    assert world.neighbour.stdout.readline().split() == ["10.77.0.1", six.partition("/")[0]]
    assert world.host.loop("third.discovery")["violations"] == 0


def heard(family: socket.AddressFamily, link: str, group: str = "") -> socket.socket:
    """Return a socket of the peer that hears a group on one link, with the time to live of what comes."""
    group = group or (SIX if family is socket.AF_INET6 else FOUR)
    with inside(PEER):
        made = socket.socket(family, socket.SOCK_DGRAM)
        index = socket.if_nametoindex(link)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        if family is socket.AF_INET6:
            member = socket.inet_pton(family, group) + struct.pack("@I", index)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        else:
            member = socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            made.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        made.bind((group, PORT, 0, index) if family is socket.AF_INET6 else (group, PORT))
    made.settimeout(10)
    return made


def captured(own: socket.socket) -> tuple[int, Any]:
    """Return the time to live of the next datagram that the captured component has sent, and where it came from."""
    while True:
        data, (control, *_), _, sender = own.recvmsg(64, 64)
        if data == b"captured":  # else zeroconf speaks
            return int.from_bytes(control[2][:4], sys.byteorder), sender


@pytest.mark.parametrize(("name", "group"), [("mdns", FOUR), ("mdns6", SIX)])
def test_it_speaks_to_the_group_on_its_link_and_not_to_another_group_port_or_host(
    world: World, name: str, group: str
) -> None:
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    other, host = ("ff02::1:3", "ff02::1") if ":" in group else ("224.0.0.252", "10.78.0.2")
    with heard(family, "near_end") as near, heard(family, "far_end") as far:
        assert world.ask("send", name, group, PORT) == "done"
        assert captured(near)[0] == 255, "routers pass none of it on, and mDNS wants to know that"
        for where in ((other, PORT), (group, PORT + 1), (host, PORT)):
            assert world.ask("send", name, *where) == "EPERM"
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            captured(far)


def test_it_chooses_no_other_link_neither_by_options_nor_by_the_scope_of_an_address(world: World) -> None:
    with inside(HOST):
        index = {name: socket.if_nametoindex(name) for name in ("near", "far")}
    assert world.ask("choose", index["far"], "10.78.0.1") == {
        "joins": "EPERM", "joins six": "EPERM", "device": "EPERM", "interface": "done", "interface six": "done",
    }  # fmt: skip
    with heard(socket.AF_INET, "far_end") as four, heard(socket.AF_INET6, "far_end") as six:
        with heard(socket.AF_INET6, "near_end") as near:
            assert world.ask("send", "mdns", FOUR, PORT) == "done"  # over the link that it has: nothing was chosen
            assert world.ask("send", "mdns6", SIX, PORT, index["near"]) == "done"
            assert world.ask("send", "mdns6", SIX, PORT, index["far"]) in ("EPERM", "EINVAL", "ENETUNREACH")
            sender = captured(near)[1]
            assert sender[0].startswith("fe80::")
        for link in (four, six):
            link.setblocking(False)
            with pytest.raises(BlockingIOError):
                captured(link)


def test_who_has_spoken_with_an_address_of_the_link_is_answered_on_that_link_alone(world: World) -> None:
    with inside(HOST):
        near, far = (socket.if_nametoindex(name) for name in ("near", "far"))
    with inside(PEER):
        speaker, scope = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.if_nametoindex("near_end")
    with speaker:
        speaker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, scope)
        speaker.sendto(b"\0\0", (SIX, PORT))  # zeroconf reads it, and drops it
        speaker.settimeout(10)
        port = speaker.getsockname()[1]
        own = next(
            row.split() for row in ip("-n", PEER, "-o", "-6", "addr", "show", "near_end").splitlines() if "fe80" in row
        )[3].partition("/")[0]  # fmt: skip
        while world.ask("send", "mdns6", own, port, near) != "done":  # until it was read
            speaker.sendto(b"\0\0", (SIX, PORT))
        assert speaker.recv(64) == b"captured"
        assert world.ask("send", "mdns6", own, port + 1, near) == "EPERM"
        assert world.ask("send", "mdns6", own, port, far) in ("EPERM", "EINVAL", "EHOSTUNREACH")
        speaker.setblocking(False)
        with pytest.raises(BlockingIOError):
            speaker.recv(64)


@pytest.mark.parametrize(("name", "group"), [("mdns", FOUR), ("mdns6", SIX)])
def test_who_has_spoken_on_the_same_host_is_answered_there(world: World, name: str, group: str) -> None:
    """Its datagrams come from the interface of the group, and what goes back to an own address leaves by `lo`."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    with inside(HOST):
        speaker, near = socket.socket(family, socket.SOCK_DGRAM), socket.if_nametoindex("near")
    with speaker:
        speaker.settimeout(10)
        if family is socket.AF_INET6:
            speaker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, near)
            rows = ip("-n", HOST, "-o", "-6", "addr", "show", "near").splitlines()
            own = next(row.split() for row in rows if "fe80" in row)[3].partition("/")[0]
        else:
            speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + near.to_bytes(4, sys.byteorder))
            own = "10.77.0.1"
        speaker.sendto(b"\0\0", (group, PORT))
        port = speaker.getsockname()[1]
        scope = (near,) if ":" in group else ()
        while world.ask("send", name, own, port, *scope) != "done":  # until it was read
            speaker.sendto(b"\0\0", (group, PORT))
        assert speaker.recv(64) == b"captured"
        assert world.ask("send", name, own, port + 1, *scope) == "EPERM"
        if family is socket.AF_INET6:
            with inside(HOST):
                listener = socket.socket(family, socket.SOCK_DGRAM)
            with listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.setsockopt(
                    socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                    socket.inet_pton(family, group) + (1).to_bytes(4, sys.byteorder),
                )  # fmt: skip
                listener.bind(("::", PORT))
                listener.setblocking(False)
                assert world.ask("send", name, group, PORT, 1) in ("EPERM", "EINVAL", "ENETUNREACH", "EADDRNOTAVAIL")
