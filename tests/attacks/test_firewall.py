"""Attacked sentence: who may only block can do no more, and a flood of changes leaves rules and process as they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hosts.joined_networks import JoinedNetworks, inside, said
from hosts.running_host import RunningHost, running

from tlsrt import CallError, Failed, InvalidArgument
from tlsrt.errors import Rejected

FIREWALL = "external/firewall"
OPTIONS = (
    "name=test", "look_s=2", "sets={bad: {timeout_s: 600, most: 16}, still: {elements: [192.0.2.1]}}",
    "input={rules: [{name: bad, sources: ['@bad', '@still'], action: drop}]}",
)  # fmt: skip
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's"),
]


@pytest.fixture(scope="module")
def networks() -> Iterator[JoinedNetworks]:
    made = JoinedNetworks("fwa")
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, networks: JoinedNetworks) -> Iterator[RunningHost]:
    with inside(networks.host):
        for host in running(request, execute=True, clients=["sensor"], detection={"mode": "observe"}):
            words = [word for option in OPTIONS for word in ("--option", option)]
            words += ["--allow", 'client/admin: "*"', "--allow", "client/sensor: [block]"]
            added = host.cli("component", "add", FIREWALL, "--yes", *words)
            assert added.returncode == 0, added.stderr
            client = host.client()
            client.call(FIREWALL, "confirm", client.call(FIREWALL, "apply")["revision"])
            yield host


def rules(networks: JoinedNetworks) -> str:
    with inside(networks.host):
        return said("nft", "-s", "-t", "list", "ruleset")


def test_who_may_block_may_nothing_else(host: RunningHost, networks: JoinedNetworks) -> None:
    before = rules(networks)
    with host.client("sensor") as sensor:
        for method, *arguments in (("apply",), ("confirm", 1), ("undo", 1), ("remove",), ("unblock", "bad", "1.2.3.4")):
            with pytest.raises(Rejected):  # by the gate, before it comes to the firewall
                sensor.call(FIREWALL, method, *arguments)
        for name, address in (
            ("bad", "1.2.3.4 } ; flush ruleset ; add set x { "), ("bad", "0.0.0.0/0"), ("bad", "::1"),
            ("bad", "fe80::1%lo"), ("bad", "@still"), ("still", "1.2.3.4"), ("bad.held", "1.2.3.4"),
            ("trial", "1.2.3.4"), ("bad", "1.2.3.4\n"), ("../x", "1.2.3.4"),
        ):  # fmt: skip
            with pytest.raises(CallError) as caught:
                sensor.call(FIREWALL, "block", name, address)
            assert "\n" not in str(caught.value) and not isinstance(caught.value, Failed), caught.value
        with pytest.raises(InvalidArgument):
            sensor.call(FIREWALL, "block", "bad", "1.2.3.4", 0)
    assert rules(networks) == before


def test_a_flood_fills_its_set_and_no_more(host: RunningHost, networks: JoinedNetworks) -> None:
    before = rules(networks)

    def flood(part: int) -> None:
        with host.client("sensor") as sensor:
            for number in range(12):
                with suppress(CallError):
                    sensor.call(FIREWALL, "block", "bad", f"198.18.{part}.{number}", timeout_s=60)

    threads = [threading.Thread(target=flood, args=(part,)) for part in range(3)]
    for one in threads:
        one.start()
    admin = host.client()
    assert admin.call(FIREWALL, "status", timeout_s=60)["drift"] is None
    for one in threads:
        one.join()
    assert 0 < len(admin.call(FIREWALL, "blocked", "bad")) <= 16
    assert rules(networks) == before and admin.call(FIREWALL, "status")["drift"] is None
    assert host.loop("external.firewall")["restarts"] == 0
