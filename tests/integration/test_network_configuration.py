"""external/configuration as an operator adds it, with the real ip, on interfaces of two joined namespaces."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hosts.joined_networks import JoinedNetworks, inside, said
from hosts.running_host import RunningHost, running

from tlsrt import Busy, CallError, Failed

CONFIGURATION, PROCESS = "external/configuration", "external.configuration"
PORT = 4003
WANTED = (
    "interfaces={c0: {up: true, mtu: 1400, addresses: [10.8.0.1/24, 'fd00:8::1/64'], "
    "routes: [{to: 10.9.0.0/16, via: 10.8.0.2, metric: 50}]}}"
)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")


@pytest.fixture(scope="module")
def networks() -> Iterator[JoinedNetworks]:
    made = JoinedNetworks("cfg")
    yield made
    made.close()


def added(host: RunningHost, *options: str) -> None:
    words = [word for option in ("confirm_s=2", *options) for word in ("--option", option)]
    done = host.cli("component", "add", CONFIGURATION, "--yes", *words, "--allow", 'client/admin: "*"')
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, networks: JoinedNetworks) -> Iterator[RunningHost]:
    with inside(networks.host):
        said("ip", "link", "add", "c0", "type", "veth", "peer", "name", "c1", "netns", networks.peer)
        said("ip", "address", "add", "192.0.2.1/24", "dev", "c0")
        for host in running(request, execute=True):
            added(host, WANTED)
            yield host


@pytest.fixture
def call(host: RunningHost, networks: JoinedNetworks) -> Iterator[Callable[..., Any]]:
    client = host.client()
    yield lambda method, *args: client.call(CONFIGURATION, method, *args)
    with inside(networks.host):
        said("ip", "address", "flush", "dev", "c0", "scope", "global")
        said("ip", "link", "set", "c0", "down", "mtu", "1500")
        said("ip", "address", "add", "192.0.2.1/24", "dev", "c0")


def seen(networks: JoinedNetworks, name: str = "c0") -> tuple[bool, int, list[str], list[str]]:
    """Return up, MTU, global addresses and our routes, as ip says."""
    with inside(networks.host):
        (link,) = json.loads(said("ip", "-j", "address", "show", "dev", name))
        routes = json.loads(said("ip", "-j", "route", "show", "protocol", "117") or "[]")
    addresses = [one["local"] for one in link["addr_info"] if one["scope"] == "global"]
    return "UP" in link["flags"], link["mtu"], addresses, [one["dst"] for one in routes]


BEFORE = (False, 1500, ["192.0.2.1"], list[str]())
AFTER = (True, 1400, ["10.8.0.1", "fd00:8::1"], ["10.9.0.0/16"])


def until(what: Callable[[], bool], seconds: float = 20.0) -> float:
    start = time.monotonic()
    while not what():
        assert time.monotonic() < start + seconds
        time.sleep(0.02)
    return time.monotonic() - start


def test_a_confirmed_change_lasts(call: Callable[..., Any], networks: JoinedNetworks) -> None:
    assert seen(networks) == BEFORE
    planned = call("plan")
    assert "link set dev c0 mtu 1400" in planned["changes"] and seen(networks) == BEFORE
    assert planned["warnings"] == ["address 192.0.2.1/24 of c0 goes: callers that reach this host by it are cut off"]
    revision = call("apply")["revision"]
    assert seen(networks) == AFTER
    with pytest.raises(Busy):
        call("apply")
    call("confirm", revision)
    time.sleep(2.5)  # longer than the trial: neither the kernel nor we may take anything away
    assert seen(networks) == AFTER
    status = call("status")
    assert (status["revision"], status["by"], status["differs"]) == (revision, "client/admin", [])
    assert call("plan")["changes"] == []


def test_what_is_not_confirmed_is_undone(call: Callable[..., Any], networks: JoinedNetworks) -> None:
    call("apply")
    assert seen(networks) == AFTER
    until(lambda: seen(networks) == BEFORE)
    until(lambda: call("status")["trial"] is None)
    assert call("revisions")[0]["why"] == "not confirmed in time"


def test_a_killed_component_undoes_it(call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost) -> None:
    call("apply")
    os.kill(host.pids()[PROCESS], signal.SIGKILL)
    until(lambda: seen(networks) == BEFORE)

    def is_undone() -> bool:
        try:
            return bool(call("revisions")[0]["state"] == "undone")
        except CallError:
            return False

    until(is_undone)


def test_addresses_go_when_the_supervisor_is_killed_and_all_at_its_next_start(
    call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost
) -> None:
    call("apply")
    assert seen(networks) == AFTER and host.process is not None
    host.process.kill()
    host.process.wait()
    assert host.process.stdout is not None
    host.process.stdout.close()
    until(lambda: seen(networks)[2] == [], 10)
    with inside(networks.host):
        host.start()
    until(lambda: seen(networks) == BEFORE)


def test_a_half_applied_change_is_undone_and_a_cut_comes_back(
    call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost
) -> None:
    listening = networks.listening(PORT)
    with inside(networks.host):
        said("ip", "route", "add", "10.77.0.0/16", "via", "10.7.0.2", "proto", "static")
    bad = "{mtu: 1300, addresses: [10.7.0.1/24, 10.7.0.9/24], routes: [{to: default, via: 172.16.0.1}]}"
    changed(host, f"interfaces={{v0: {bad}}}")
    with pytest.raises(Failed, match=r"nothing is changed: ip refuses `route add 0\.0\.0\.0/0 via 172\.16"):
        call("apply")
    assert seen(networks, "v0") == (True, 1500, ["10.7.0.1"], [])
    changed(host, "interfaces={v0: {up: false}, usb9: {}}")
    with pytest.raises(Failed, match="interface usb9 is not there: plug it in"):
        call("apply")
    with inside(networks.host):
        said("ip", "link", "add", "usb9", "type", "veth", "peer", "name", "usb8")
    assert "interface v0 goes down: callers that reach this host by 10.7.0.1" in call("plan")["warnings"][0]
    assert networks.reaches(PORT)
    call("apply")
    assert not networks.reaches(PORT)
    with inside(networks.host):
        said("ip", "link", "delete", "usb9")  # what vanishes in a trial needs no undoing
    until(lambda: networks.reaches(PORT))
    until(lambda: call("status")["trial"] is None)
    with inside(networks.host):
        assert "10.77.0.0/16 via 10.7.0.2" in said("ip", "route"), "what went with the link is there again"
    listening.close()


def changed(host: RunningHost, options: str) -> None:
    """Have other options of the component."""
    done = host.cli("component", "remove", CONFIGURATION, "--yes")
    assert done.returncode == 0, done.stderr
    added(host, options)
