"""Attacked sentence: what the network announces is bounded, told as plain text, and ended by no goodbye of another.

external/discovery runs on a host in a network namespace of the test; a peer in another one announces and finds by
python-zeroconf as any program does, and an attacker there sends what no honest one would.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from hosts.network_space import inside, ip, network_space
from hosts.running_host import RunningHost, running
from tools.programs import need
from zeroconf._dns import DNSAddress, DNSPointer, DNSService, DNSText
from zeroconf._protocol.outgoing import DNSOutgoing

from tlsrt.errors import CallError

DISCOVERY, KIND = "external/discovery", "_tlsrt._tcp.local."
SPACE, PEER = f"tlsrt-d{os.getpid()}", f"tlsrt-q{os.getpid()}"
GROUP, PORT = "224.0.0.251", 5353
_ANSWER, _IN, _UNIQUE, _POINTER, _TEXT, _SERVICE = 0x8400, 1, 0x8000, 12, 16, 33
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or "cgroup2" not in Path("/proc/self/mounts").read_text(),
    reason="programs are attached to control groups by root",
)
NEIGHBOUR = """
import asyncio, socket, sys
from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
KIND = "_tlsrt._tcp.local."

async def main():
    zeroconf = AsyncZeroconf(interfaces=["10.79.0.2"], ip_version=IPVersion.V4Only)
    infos = {}
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, name = line.split()
        if verb == "announce":
            info = infos[name] = ServiceInfo(KIND, f"{name}.{KIND}", addresses=[socket.inet_aton("10.79.0.2")],
                port=99, server="lamp.local.", properties={"path": "/x"})
            await (await zeroconf.async_register_service(info, cooperating_responders=True))
            print("done", flush=True)
        elif verb == "end":
            await (await zeroconf.async_unregister_service(infos.pop(name)))
            print("done", flush=True)
        else:
            found = AsyncServiceInfo(KIND, f"{name}.{KIND}")
            is_there = await found.async_request(zeroconf.zeroconf, 8000)
            print(*(found.parsed_addresses() + [found.port, found.properties] if is_there else ()), flush=True)
    await zeroconf.async_close()

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class World:
    host: RunningHost
    neighbour: subprocess.Popen[str]

    def ask(self, method: str, *arguments: object) -> Any:
        with self.host.client() as client:
            return client.call(DISCOVERY, method, *arguments)

    def tell(self, *words: str) -> str:
        assert self.neighbour.stdin is not None and self.neighbour.stdout is not None
        self.neighbour.stdin.write(f"{' '.join(words)}\n")
        self.neighbour.stdin.flush()
        return self.neighbour.stdout.readline().strip()

    def until(self, name: str, *, is_there: bool) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def has_it(document: object) -> bool:
            found[:] = [one for one in self.ask("services")["services"] if one["name"] == name]
            return bool(found) is is_there

        self.host.until(has_it, f"{name} there: {is_there}", timeout_s=20)
        return found[0] if found else {}


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    need("ip")
    listen = {"name": "mdns", "group": GROUP, "port": PORT, "protocol": "udp", "replies": True, "interface": "near"}
    kettle = {"type": "_tlsrt._tcp", "port": 7443, "txt": {"model": "K1"}}
    with network_space(SPACE), network_space(PEER):
        ip("-n", PEER, "link", "del", "near")
        ip("-n", SPACE, "link", "set", "far", "netns", PEER)
        for space, name, last in ((SPACE, "near", 1), (PEER, "far", 2)):
            ip("-n", space, "addr", "add", f"10.79.0.{last}/24", "dev", name)
            ip("-n", space, "link", "set", name, "up")
        ip("-n", PEER, "route", "add", "224.0.0.0/4", "dev", "far")
        with subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{PEER}", sys.executable, "-c", NEIGHBOUR],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as neighbour:  # fmt: skip
            assert neighbour.stdin is not None and neighbour.stdout is not None
            assert neighbour.stdout.readline() == "ready\n"
            with inside(SPACE):
                for host in running(
                    request,
                    components={
                        DISCOVERY: {
                            "class": "tlsrt.loops.external.discovery:Discovery",
                            "options": {"host": "kettle", "announce": {"kettle": kettle}, "browse": ["_tlsrt._tcp"]},
                            "needs": {"listen": [listen | {"why": "a test"}], "memory_mb": 32},
                        }
                    },
                    policy={f"client/admin -> {DISCOVERY}": "*"},
                ):
                    yield World(host, neighbour)
            neighbour.stdin.close()


def say(*records: Any) -> None:
    """Say something to the group as an attacker on the link."""
    out = DNSOutgoing(_ANSWER)
    for record in records:
        out.add_answer_at_time(record, 0)
    with inside(PEER), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        speaker.bind(("10.79.0.2", PORT))
        for packet in out.packets():
            speaker.sendto(packet, (GROUP, PORT))


def service(name: str, text: bytes = b"\0", ttl: int = 120, host: str = "evil.local.") -> list[Any]:
    full = f"{name}.{KIND}"
    return [
        DNSPointer(KIND, _POINTER, _IN, ttl, full),
        DNSService(full, _SERVICE, _IN | _UNIQUE, ttl, 0, 0, 99, host),
        DNSText(full, _TEXT, _IN | _UNIQUE, ttl, text),
        DNSAddress(host, 1, _IN | _UNIQUE, ttl, socket.inet_aton("10.79.0.2")),
    ]


def test_both_find_each_other(world: World) -> None:
    world.host.until(lambda document: bool(world.ask("announced")), "the announcement")
    assert world.ask("announced") == [{"name": "kettle", "type": KIND, "port": 7443, "renamed": False}]
    assert world.tell("find", "kettle") == "10.79.0.1 7443 {b'model': b'K1'}"
    heard: Queue[Any] = Queue()
    stream = world.host.client().stream(DISCOVERY, "subscribe", "lost")
    Thread(target=_pump, args=(stream, heard), daemon=True).start()
    assert world.tell("announce", "lamp") == "done"
    lamp = world.until("lamp", is_there=True)
    assert lamp["host"] == "lamp.local." and lamp["addresses"] == ["10.79.0.2"] and lamp["txt"] == {"path": "/x"}
    assert lamp["port"] == 99 and lamp["age_s"] < 60 and world.host.loop("external.discovery")["violations"] == 0
    assert world.tell("end", "lamp") == "done"
    world.until("lamp", is_there=False)
    assert heard.get(timeout=10)["name"] == "lamp"


def _pump(stream: Any, heard: Queue[Any]) -> None:
    try:
        for item in stream:
            heard.put(item)
    except CallError:
        return


def test_a_goodbye_of_another_ends_nothing(world: World) -> None:
    assert world.tell("announce", "clock") == "done"
    world.until("clock", is_there=True)
    before = world.ask("metrics")["counters"].get("false_goodbyes", 0)
    say(*service("clock", ttl=0, host="lamp.local."))

    def is_doubted(document: object) -> bool:
        return bool(world.ask("metrics")["counters"].get("false_goodbyes", 0) > before)

    world.host.until(is_doubted, "a goodbye that is doubted", timeout_s=20)
    assert world.until("clock", is_there=True)["port"] == 99
    assert "lost" not in world.ask("metrics")["counters"] or world.ask("metrics")["counters"]["lost"] <= 1


def test_names_and_txt_of_the_network_are_plain_bounded_text(world: World) -> None:
    bomb = b"".join(b"\xff" + b"k%03d=" % number + b"\x1b" * 250 for number in range(30))
    say(*service("\x1b[31mred\x07"))  # which zeroconf takes for no name
    say(*service("red\u202e", bomb))
    found = world.until("red\\u202e", is_there=True)
    world.host.until(lambda document: bool(world.ask("metrics")["counters"].get("bad_names")), "a name that is none")
    for number in range(20):  # more often than a task may end
        say(*service(f"\x07{number}"))
    assert world.tell("find", "kettle").startswith("10.79.0.1 7443")
    assert "Traceback" not in world.host.log("external.discovery")
    assert not [one for one in world.ask("services")["services"] if "31m" in one["name"]]
    assert len(found["txt"]) == 16 and all(len(value) <= 255 for value in found["txt"].values())
    assert all(sign.isprintable() for sign in str(found))


def test_what_nobody_looks_for_is_not_told(world: World) -> None:
    other = "_other._tcp.local."
    say(DNSPointer(other, _POINTER, _IN, 120, f"x.{other}"), *service("seen"))
    world.until("seen", is_there=True)
    assert all(one["type"] == KIND for one in world.ask("services")["services"])


def test_a_flood_is_bounded_and_who_is_there_stays(world: World) -> None:
    pid = world.host.loop("external.discovery")["pid"]
    for number in range(3000):
        say(*service(f"flood{number}", b"\x10" + b"x" * 16))
    answer = world.ask("services")
    assert len(answer["services"]) <= 256
    world.host.until(lambda document: world.ask("services")["left_out"] > 0, "some that are left out", timeout_s=30)
    assert len(world.ask("services")["services"]) <= 256
    document = world.host.loop("external.discovery")
    assert document["pid"] == pid and document["memory_kib"] < 96 << 10
    assert world.tell("find", "kettle").startswith("10.79.0.1 7443")


def test_a_stop_says_goodbye(world: World) -> None:
    with inside(PEER), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton("10.79.0.2")
        )
        own.bind((GROUP, PORT))
        own.settimeout(10)
        world.host.stop()
        until, heard = time.monotonic() + 10, b""
        while b"\x06kettle" not in heard or b"\0\x0c\0\x01\0\0\0\0" not in heard:  # a pointer with no time to live
            assert time.monotonic() < until
            heard = own.recv(9000)
