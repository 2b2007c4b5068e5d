"""Attacked sentence: who is granted network events hears those of its interfaces, at a bounded rate, and no one else.

The host runs in a network namespace of the test, whose links, addresses and routes `ip` changes.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from attackers.helper_attacks import INSIDE, tried_in
from hosts.late_prelude import LatePrelude
from hosts.network_space import inside, ip, network_space
from hosts.running_host import RunningHost, running
from tools.programs import need

from tlsrt import Client
from tlsrt.supervisor.helper.network_feed import AT_ONCE_MAX, PER_S

NEAR, FAR, ALL, NONE = "third/near", "third/far", "forth/all", "forth/none"
SPACE = f"tlsrt-e{os.getpid()}"
STAT = Path("/proc/sys/vm/stat_interval")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are made by root")
# Code in the helper says what no feed does on the kernel's socket: a route, and a link that is down.
CAPTURING = """
import tlsrt.supervisor.helper.main as helper
from tlsrt.supervisor.helper.network_feed import NetworkFeed
from tlsrt.supervisor.helper.netlink import ACK, REQUEST, message, outcome_untrusted
from tlsrt.supervisor.helper.rtnetlink import Route, set_route
_write, _about = helper.ACTIONS["write"]
_feeds = []
_init = NetworkFeed.__init__

def _made(self, *arguments):
    _init(self, *arguments)
    _feeds.append(self)

def _outcome(request):
    kernel = _feeds[-1]._kernel
    os.write(kernel.fileno(), request)
    while True:
        try:
            outcome = outcome_untrusted(kernel.recv(65536), 7)
        except BlockingIOError:
            return -1
        except OSError:
            continue
        if outcome is not None:
            return outcome

def _captured(request, place):
    down = struct.pack("=BxHiII", 0, 0, 1, 0, 1)
    say_tried({
        "route": _outcome(set_route(Route(4, 0x0a370000, 16, 0, 1, 5), 7)),
        "link": _outcome(message(16, REQUEST | ACK, 7, down)),
    })
    return _write(request, place)

NetworkFeed.__init__ = _made
helper.ACTIONS["write"] = (_captured, _about)
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    need("ip")
    stat = {"name": "stat", "path": str(STAT), "values": "1-3", "why": "a test"}

    def hears(*interfaces: str) -> dict[str, Any]:
        events = [{"kind": "network", "interfaces": interfaces, "why": "a test"}]
        return {"class": "captured.helped:Helped", "options": {"hears_network": True}, "needs": {"events": events}}

    with network_space(SPACE), inside(SPACE):
        yield from running(
            request, packages=[PACKAGE], prelude=LatePrelude(f"import struct\n{INSIDE}{CAPTURING}"),
            components={NEAR: hears("near"), FAR: hears("fa*"), ALL: hears("*"),
                        NONE: {"class": "captured.helped:Helped", "needs": {"settings": [stat]}}},
            policy={f"client/admin -> {one}": "*" for one in (NEAR, FAR, ALL, NONE)},
        )  # fmt: skip


def told(client: Client, component: str) -> list[tuple[float, list[Any]]]:
    return [(at, row) for at, row in client.call(component, "what_was_told")]


def _of_far(rows: list[tuple[float, list[Any]]]) -> int:
    return sum(row[:3] == ["link", False, "far"] for _, row in rows)


def until(
    host: RunningHost, component: str, is_it: Callable[[list[Any]], bool], begin: int = 0
) -> tuple[float, list[Any]]:
    """Return the first event of a kind that a component was told, from one of its events on."""
    found: list[tuple[float, list[Any]]] = []
    client = host.client()

    def has_come(document: object) -> bool:
        found[:] = [(at, row) for at, row in told(client, component)[begin:] if is_it(row)]
        return bool(found)

    host.until(has_come, f"an event of {component}")
    return found[0]


def test_each_hears_its_own_interfaces_at_once_and_who_has_no_grant_nothing(host: RunningHost) -> None:
    client, began = host.client(), time.monotonic()
    ip("-n", SPACE, "addr", "add", "10.55.0.1/24", "dev", "near")
    at, row = until(host, NEAR, lambda row: row[0] == "address" and row[3] == "10.55.0.1/24")
    assert row[1:3] == [False, "near"] and at - began < 5, "the program `ip` has to start in that, too"
    for name in ("near", "far"):
        ip("-n", SPACE, "link", "set", name, "up")
        until(host, ALL, lambda row, name=name: row[0] == "link" and row[2] == name and row[4])  # type: ignore[misc]
    ip("-n", SPACE, "route", "add", "10.66.0.0/16", "via", "10.55.0.9")
    until(host, NEAR, lambda row: row[:4] == ["route", False, "near", "10.66.0.0/16"])
    ip("-n", SPACE, "route", "del", "10.66.0.0/16")
    until(host, NEAR, lambda row: row[:4] == ["route", True, "near", "10.66.0.0/16"])
    ip("-n", SPACE, "addr", "del", "10.55.0.1/24", "dev", "near")
    until(host, NEAR, lambda row: row[:4] == ["address", True, "near", "10.55.0.1/24"])
    until(host, FAR, lambda row: row[2] == "far" and row[4])
    assert {row[2] for _, row in told(client, NEAR) if row[0] != "resynchronise"} == {"near"}
    assert {row[2] for _, row in told(client, FAR) if row[0] != "resynchronise"} == {"far"}
    assert {"near", "far"} <= {row[2] for _, row in told(client, ALL)}
    assert told(client, NONE) == []
    assert [client.call(one, "hears", "network") for one in (NEAR, NONE)] == [True, False]


def test_a_renamed_interface_is_heard_by_its_new_name(host: RunningHost) -> None:
    ip("-n", SPACE, "link", "add", "odd", "type", "veth")
    ip("-n", SPACE, "link", "set", "odd", "name", "face")
    until(host, FAR, lambda row: row[:3] == ["link", False, "face"])
    ip("-n", SPACE, "link", "del", "face")
    until(host, FAR, lambda row: row[:3] == ["link", True, "face"])


def test_an_interface_named_with_escapes_is_told_in_printable_text(host: RunningHost) -> None:
    ip("-n", SPACE, "link", "add", "\x1b[31mred", "type", "veth")
    _, row = until(host, ALL, lambda row: "red" in row[2])
    assert row[2] == "\\x1b[31mred"
    ip("-n", SPACE, "link", "del", "\x1b[31mred")


def test_a_flood_is_bounded_and_who_lost_some_is_told_to_read_anew(host: RunningHost) -> None:
    client, helper = host.client(), host.status()["helper"]["pid"]
    before, began = len(told(client, ALL)), time.monotonic()
    lines = "".join(f"addr add 10.{n // 250 + 100}.{n % 250}.1/32 dev near\n" for n in range(4000))
    subprocess.run(["ip", "-n", SPACE, "-batch", "-"], input=lines, check=True, capture_output=True, text=True)
    until(host, ALL, lambda row: row[0] == "resynchronise" or row[5] > 0, before)
    most = AT_ONCE_MAX + PER_S * (time.monotonic() - began + 1)
    assert len(told(client, ALL)) - before <= most
    ip("-n", SPACE, "addr", "flush", "dev", "near")
    sizes, heard = iter(range(1300, 1400)), _of_far(told(client, FAR))

    def is_heard_as_before(document: object) -> bool:
        """A change is heard again; one that comes while some are owed for is part of what is read anew."""
        ip("-n", SPACE, "link", "set", "far", "mtu", str(next(sizes)))
        return _of_far(told(client, FAR)) > heard

    host.until(is_heard_as_before, "changes after the flood")
    assert told(client, NONE) == [] and host.status()["helper"]["pid"] == helper


def test_a_captured_helper_changes_no_network_by_the_socket_that_it_hears_on(host: RunningHost) -> None:
    host.client().call(NONE, "write_setting", "stat", int(STAT.read_text()))
    tried = tried_in(host, "helper")
    assert tried == {"route": 1, "link": 1}, tried  # EPERM
    assert "10.55" not in ip("-n", SPACE, "route", "show", "10.55.0.0/16")


def test_the_grant_is_shown_with_its_reason(host: RunningHost) -> None:
    shown = host.cli("sandbox", "show", "third.near").stdout
    assert "network changes on near" in shown and "a test" in shown
