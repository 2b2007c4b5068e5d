"""external/configuration as an operator adds it, with the real ip, on interfaces of two joined namespaces."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hosts.joined_networks import JoinedNetworks, inside, is_undone, said, until
from hosts.running_host import RunningHost

from tlsrt import Busy, CallError, Failed, TlsrtError

CONFIGURATION, PROCESS = "external/configuration", "external.configuration"
WRONG, CUT = "external/wrong", "external/cut"
PORT = 4003
WANTED = (
    "interfaces={c0: {up: true, mtu: 1400, addresses: [10.8.0.1/24, 'fd00:8::1/64'], "
    "routes: [{to: 10.9.0.0/16, via: 10.8.0.2, metric: 50}]}}"
)
BAD = "{mtu: 1300, addresses: [10.7.0.1/24, 10.7.0.9/24], routes: [{to: default, via: 172.16.0.1}]}"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")


@pytest.fixture(scope="module")
def networks() -> Iterator[JoinedNetworks]:
    made = JoinedNetworks("cfg")
    yield made
    made.close()


def added(host: RunningHost, address: str, *options: str) -> None:
    words = [word for option in ("confirm_s=2", *options) for word in ("--option", option)]
    done = host.cli("component", "add", CONFIGURATION, "--as", address, "--yes", *words, "--allow", 'client/admin: "*"')
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def host(networks: JoinedNetworks) -> Iterator[RunningHost]:
    """One with three of them, as each has options of its own: they are added before it starts, which is quicker."""
    with inside(networks.host):
        said("ip", "link", "add", "c0", "type", "veth", "peer", "name", "c1", "netns", networks.peer)
        said("ip", "address", "add", "192.0.2.1/24", "dev", "c0")
        made = RunningHost(execute=True)
        added(made, CONFIGURATION, WANTED)
        added(made, WRONG, f"interfaces={{v0: {BAD}}}")
        added(made, CUT, "interfaces={v0: {up: false}, usb9: {}}")
        with made:
            yield made


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


def undo_processes(host: RunningHost) -> list[int]:
    """Return the processes beside the supervisor that keep an undo."""
    process = host.process
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(one) for one in children if int(one) != host.pids()["supervisor"]]


FOREVER = 0xFFFFFFFF
BEFORE = (False, 1500, ["192.0.2.1"], list[str]())
AFTER = (True, 1400, ["10.8.0.1", "fd00:8::1"], ["10.9.0.0/16"])


def test_a_confirmed_change_lasts(call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost) -> None:
    assert seen(networks) == BEFORE
    planned = call("plan")
    assert "link set dev c0 mtu 1400" in planned["changes"] and seen(networks) == BEFORE
    assert planned["warnings"] == ["address 192.0.2.1/24 of c0 goes: callers that reach this host by it are cut off"]
    revision = call("apply")["revision"]
    assert seen(networks) == AFTER and len(undo_processes(host)) == 1
    with pytest.raises(Busy):
        call("apply")
    call("confirm", revision)
    with inside(networks.host):  # neither the kernel nor we take anything away when the time is over
        (link,) = json.loads(said("ip", "-j", "address", "show", "dev", "c0"))
    assert {one["valid_life_time"] for one in link["addr_info"] if one["scope"] == "global"} == {FOREVER}
    until(lambda: not undo_processes(host))
    status = call("status")
    assert status["trial"] is None
    assert (status["revision"], status["by"], status["differs"]) == (revision, "client/admin", [])
    assert call("plan")["changes"] == []


def applying(call: Callable[..., Any]) -> threading.Thread:
    """Call `apply`, which something kills meanwhile."""

    def tried() -> None:
        with suppress(CallError, TlsrtError):
            call("apply")

    thread = threading.Thread(target=tried)
    thread.start()
    return thread


def test_it_is_undone_at_once_when_the_component_is_killed(
    call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost
) -> None:
    call("apply")
    assert seen(networks) == AFTER
    os.kill(host.pids()[PROCESS], signal.SIGKILL)
    until(lambda: seen(networks) == BEFORE)
    until(lambda: is_undone(call))
    until(lambda: not undo_processes(host))
    thread = applying(call)
    until(lambda: seen(networks)[1] == 1400)  # the first of the changes
    os.kill(host.pids()[PROCESS], signal.SIGKILL)
    until(lambda: seen(networks) == BEFORE)
    thread.join()
    until(lambda: is_undone(call))
    until(lambda: not undo_processes(host))  # which puts back what the teardown takes away


def ended(host: RunningHost) -> None:
    """Wait for the end of a host that was killed."""
    process = host.process
    assert process is not None
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()


def test_all_is_undone_when_the_supervisor_is_killed_and_does_not_come_back(
    networks: JoinedNetworks, host: RunningHost
) -> None:
    client = host.client()
    thread = applying(lambda method: client.call(CONFIGURATION, method))
    until(lambda: seen(networks)[1] == 1400)  # in the midst of it
    *_, waiting = undo_processes(host)  # that of the test before may not have ended
    os.kill(waiting, signal.SIGTERM)  # as a service manager, or who ends a session, does it with all of a group
    os.kill(host.pids()["supervisor"], signal.SIGKILL)
    ended(host)
    assert seen(networks) == BEFORE, "the launcher ends when all is undone"
    thread.join()
    with inside(networks.host):
        host.start()
    client = host.client()
    until(lambda: is_undone(lambda method: client.call(CONFIGURATION, method)))


def test_a_half_applied_change_is_undone_and_one_that_is_not_confirmed_comes_back(
    networks: JoinedNetworks, host: RunningHost
) -> None:
    listening = networks.listening(PORT)
    with inside(networks.host):
        said("ip", "route", "add", "10.77.0.0/16", "via", "10.7.0.2", "proto", "static")
    client = host.client()
    with pytest.raises(Failed, match=r"nothing is changed: ip refuses `route add 0\.0\.0\.0/0 via 172\.16"):
        client.call(WRONG, "apply")
    assert seen(networks, "v0") == (True, 1500, ["10.7.0.1"], [])
    with pytest.raises(Failed, match="interface usb9 is not there: plug it in"):
        client.call(CUT, "apply")
    with inside(networks.host):
        said("ip", "link", "add", "usb9", "type", "veth", "peer", "name", "usb8")
    assert "interface v0 goes down: callers that reach this host by 10.7.0.1" in client.call(CUT, "plan")["warnings"][0]
    assert networks.reaches(PORT)
    client.call(CUT, "apply")
    assert not networks.reaches(PORT)
    with inside(networks.host):
        said("ip", "link", "delete", "usb9")  # what vanishes in a trial needs no undoing
    until(lambda: networks.reaches(PORT))
    until(lambda: client.call(CUT, "status")["trial"] is None)
    assert client.call(CUT, "revisions")[0]["why"] == "not confirmed in time"
    with inside(networks.host):
        assert "10.77.0.0/16 via 10.7.0.2" in said("ip", "route"), "what went with the link is there again"
    listening.close()
