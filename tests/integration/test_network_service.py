"""external/network on a running host in a network namespace of the test: links, addresses, routes, and their events."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pyroute2
import pytest
from fakes.name_server import NameServer, name_server
from hosts.network_space import inside, ip, network_space
from hosts.running_host import RunningHost, running
from tools.programs import need

from tlsrt.errors import CallError, DeadlineExceeded, InvalidArgument, NotFound

NETWORK = "external/network"
SPACE = f"tlsrt-n{os.getpid()}"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are made by root")


@pytest.fixture(scope="module")
def servers() -> Iterator[NameServer]:
    need("ip")
    with network_space(SPACE), inside(SPACE), name_server(53) as server:
        server.records["kettle.test"] = ["192.0.2.7", "2001:db8::7"]
        yield server


@pytest.fixture(scope="module")
def host(
    request: pytest.FixtureRequest, servers: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHost]:
    resolv = tmp_path_factory.mktemp("etc") / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\nsearch home.test\noptions timeout:1 attempts:1\n")
    yield from running(
        request,
        witness=["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolv)],
        components={
            NETWORK: {"options": {"resolve": True},
                      "needs": {"events": [{"kind": "network", "interfaces": ["*"], "why": "a test"}],
                                "egress": [{"to": ["127.0.0.1:53/udp"], "why": "names"}]}},
        },
        policy={f"client/admin -> {NETWORK}": "*"},
    )  # fmt: skip


class Heard:
    """What is told on a topic, with the moment at which it came here."""

    def __init__(self, host: RunningHost, topic: str) -> None:
        self._items: Queue[tuple[float, Any]] = Queue()
        self._stream = host.client().stream(NETWORK, "subscribe", topic)
        Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        try:
            for item in self._stream:
                self._items.put((time.monotonic(), item))
        except CallError:  # the host has ended
            return

    def until(self, is_it: Callable[[Any], bool]) -> tuple[float, Any]:
        """Return the next one of a kind. Raises Empty after 10 s without any."""
        while True:
            at, item = self._items.get(timeout=10)
            if is_it(item):
                return at, item

    def begin(self, do: Callable[[int], object], is_it: Callable[[Any], bool]) -> None:
        """Do something until it is heard: what comes before the subscription is not."""
        for number in range(40):
            do(number)
            try:
                if is_it(self._items.get(timeout=0.25)[1]):
                    return
            except Empty:
                continue
        raise AssertionError("nothing was heard")


def _has_mtu(mtu: int, told: Any) -> bool:
    return bool(told["mtu_bytes"] == mtu)


def _mtu(number: int) -> None:
    ip("-n", SPACE, "link", "set", "far", "mtu", str(1300 + number))


def test_what_the_host_has_is_told(host: RunningHost) -> None:
    client = host.client()
    links = {one["name"]: one for one in client.call(NETWORK, "links")}
    assert set(links) >= {"lo", "near", "far"} and links["lo"]["up"] and not links["near"]["carrier"]
    assert links["near"]["mtu_bytes"] == 1500 and links["near"]["address"].count(":") == 5
    assert (links["near"]["speed_mbit"], links["lo"]["speed_mbit"]) == (10000, None)
    addresses = client.call(NETWORK, "addresses")
    assert {"interface": "lo", "family": "ipv4", "address": "127.0.0.1/8", "scope": "host"} in addresses
    assert client.call(NETWORK, "reachability") == {"online": False, "ipv4": None, "ipv6": None}
    assert client.call(NETWORK, "name_servers") == {"servers": ["127.0.0.1"], "search": ["home.test"], "stub": True}
    sockets = client.call(NETWORK, "listening")["sockets"]
    door = host.status()["door"]["port"]
    for protocol, port in (("tcp", door), ("tcp", 53), ("udp", 53)):
        assert (protocol, "127.0.0.1", port) in {(one["protocol"], one["address"], one["port"]) for one in sockets}


def test_changes_are_heard(host: RunningHost) -> None:
    link, address, route, online = (Heard(host, topic) for topic in ("link", "address", "route", "online"))
    link.begin(_mtu, lambda told: told["name"] == "far")
    for name in ("near", "far"):
        ip("-n", SPACE, "link", "set", name, "up")
    assert link.until(lambda told: told["name"] == "near" and told["carrier"])[1]["change"] == "changed"
    ip("-n", SPACE, "addr", "add", "10.88.0.1/24", "dev", "near")
    _, told = address.until(lambda told: told["address"] == "10.88.0.1/24")
    assert told == {
        "change": "new", "interface": "near", "family": "ipv4", "address": "10.88.0.1/24", "scope": "global",
    }  # fmt: skip
    ip("-n", SPACE, "route", "add", "default", "via", "10.88.0.9", "metric", "7")
    way = {"family": "ipv4", "destination": "0.0.0.0/0", "gateway": "10.88.0.9", "interface": "near", "metric": 7}
    assert route.until(lambda told: told["destination"] == "0.0.0.0/0")[1] == {"change": "new", **way}
    assert online.until(lambda told: told["online"])[1] == {"online": True, "ipv4": way, "ipv6": None}
    assert host.client().call(NETWORK, "reachability")["online"] is True
    ip("-n", SPACE, "link", "set", "far", "down")  # the cable is out
    assert link.until(lambda told: told["name"] == "near" and not told["carrier"])[1]["up"] is True
    assert online.until(lambda told: not told["online"])[1]["ipv4"] is None
    ip("-n", SPACE, "link", "set", "far", "up")
    assert online.until(lambda told: told["online"])[1]["ipv4"] == way
    ip("-n", SPACE, "route", "del", "default")
    assert route.until(lambda told: told["destination"] == "0.0.0.0/0")[1]["change"] == "removed"
    ip("-n", SPACE, "addr", "add", "2001:db8::1/64", "dev", "near", "nodad")
    assert address.until(lambda told: told["family"] == "ipv6" and told["scope"] == "global")[1]["change"] == "new"
    ip("-n", SPACE, "addr", "del", "10.88.0.1/24", "dev", "near")
    assert address.until(lambda told: told["address"] == "10.88.0.1/24")[1]["change"] == "removed"
    ip("-n", SPACE, "link", "add", "\x1b[31mred", "type", "veth")
    assert link.until(lambda told: "red" in told["name"])[1]["name"] == "\\x1b[31mred"
    ip("-n", SPACE, "link", "del", "\x1b[31mred")
    assert link.until(lambda told: "red" in told["name"])[1]["change"] == "removed"


def test_changes_are_heard_soon(host: RunningHost) -> None:
    link, took = Heard(host, "link"), []
    link.begin(_mtu, lambda told: told["name"] == "far")
    with pyroute2.IPRoute() as route:
        (far,) = route.link_lookup(ifname="far")
        for number in range(40):
            route.link("set", index=far, mtu=1400 + number)
            began = time.monotonic()
            at, _ = link.until(partial(_has_mtu, 1400 + number))
            took.append(max(0.0, at - began) * 1000)

    took.sort()
    print(f"a change is heard by a client after {took[20]:.1f} ms (p50 of 40), at most {took[-1]:.1f}")
    assert took[20] < 1000, "a poll takes 10 s"


def test_a_helper_that_ends_loses_no_change(host: RunningHost) -> None:
    link = Heard(host, "link")
    link.begin(_mtu, lambda told: told["name"] == "far")
    os.kill(host.status()["helper"]["pid"], signal.SIGKILL)
    ip("-n", SPACE, "link", "set", "far", "mtu", "1290")
    link.until(lambda told: told["mtu_bytes"] == 1290)


def test_names_are_resolved_by_the_host_s_servers(host: RunningHost, servers: NameServer) -> None:
    client = host.client()
    assert set(client.call(NETWORK, "resolve", "kettle.test")) == {"192.0.2.7", "2001:db8::7"}
    assert set(client.call(NETWORK, "resolve", "localhost")) & {"127.0.0.1", "::1"}
    with pytest.raises(NotFound, match="has no address"):
        client.call(NETWORK, "resolve", "nothing.test")
    with pytest.raises(InvalidArgument, match="no name of a host"):
        client.call(NETWORK, "resolve", "a b")
    servers.silent.add("silent.test")
    with pytest.raises((DeadlineExceeded, CallError)) as refused:
        client.call(NETWORK, "resolve", "silent.test")
    assert "answer" in str(refused.value)


def test_a_flood_of_addresses_leaves_the_service_answering(host: RunningHost) -> None:
    address, client = Heard(host, "address"), host.client()
    address.begin(
        lambda number: ip("-n", SPACE, "addr", "add", f"10.89.{number}.1/32", "dev", "near"), lambda told: True
    )
    lines = "".join(f"addr add 10.{n // 250 + 100}.{n % 250}.1/32 dev near\n" for n in range(2000))
    _batch(lines)
    host.until(lambda document: len(client.call(NETWORK, "addresses")) > 2000, "all addresses")
    _batch("addr flush dev near\n")
    host.until(lambda document: len(client.call(NETWORK, "addresses")) < 10, "none of them")
    link = Heard(host, "link")  # and what comes then is heard
    link.begin(_mtu, lambda told: told["name"] == "far")


def _batch(lines: str) -> None:
    subprocess.run(["ip", "-n", SPACE, "-batch", "-"], input=lines, check=True, capture_output=True, text=True)
