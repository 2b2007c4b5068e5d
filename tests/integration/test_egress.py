"""A component that asks for the network in the configuration reaches what its rules list, in a running host."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.echo_server import echo_servers
from hosts.collectors import until
from hosts.running_host import RunningHost, running

PACKAGE = Path(__file__).parents[1] / "hosts" / "fetching_package" / "fetching"
CLASS = {"class": "fetching:Fetcher", "process": "shared"}


BUDGETS = {
    "few": {"at_once": 2}, "slow": {"per_minute": 3},
    "small": {"sent_mb_per_day": 1, "received_mb_per_day": 64},
}  # fmt: skip


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with echo_servers() as found:
        yield found


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, ports: dict[str, int]) -> Iterator[RunningHost]:
    egress = [{"to": [f"127.0.0.1:{ports['tcp']}"], "why": "the echo server of the test"}]
    components = {
        "external/fetcher": {**CLASS, "needs": {"egress": egress}},
        "third/fetcher": CLASS,
        "secondary/fetcher": {
            "class": "fetching:Fetcher",
            "needs": {"egress": [{"to": ["*:*", "0.0.0.0/0:*"], "why": "all"}]},
        },
        "forth/fetcher": {"class": "fetching:Fetcher", "needs": {"egress": egress}},
    }
    for name, budget in BUDGETS.items():
        entry = {"to": [f"127.0.0.1:{ports['tcp']}"], "why": "the echo server", "budget": budget}
        components[f"third/{name}"] = {"class": "fetching:Fetcher", "needs": {"egress": [entry]}}
    policy = {f"client/admin -> {address}": "*" for address in components}
    yield from running(request, components=components, policy=policy, packages=[PACKAGE])


def test_what_is_listed_is_reached_and_the_rest_is_refused_and_told(host: RunningHost, ports: dict[str, int]) -> None:
    with host.client() as client:
        assert client.call("external/fetcher", "fetch", "127.0.0.1", ports["tcp"]) == "ping"
        assert client.call("external/fetcher", "fetch", "localhost", ports["tcp"]) == "ping"  # a name of /etc/hosts
        before = host.loop("external")["violations"]
        assert before <= 1  # the other address of localhost, if it has one
        assert client.call("external/fetcher", "fetch", "127.0.0.1", ports["other"]) == "EACCES"
    host.wait_for(f"external +warning external wants 127.0.0.1:{ports['other']}/tcp, and no egress rule")
    external = host.loop("external")
    assert external["violations"] == before and external["restarts"] == 0


@pytest.mark.parametrize("near", ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "169.254.169.254"])
def test_any_address_is_none_that_is_near(host: RunningHost, ports: dict[str, int], near: str) -> None:
    """The echo server listens on loopback, so each of its names would reach it."""
    with host.client() as client:
        assert client.call("secondary/fetcher", "fetch", near, ports["tcp"]) == "EACCES"
    asked = host.cli("sandbox", "explain", "secondary.fetcher", f"127.0.0.1:{ports['tcp']}")
    assert asked.returncode == 1 and "*:* means public addresses, and this is none" in asked.stdout


def test_a_loop_that_did_not_ask_has_no_network(host: RunningHost, ports: dict[str, int]) -> None:
    with host.client() as client:
        assert client.call("third/fetcher", "fetch", "127.0.0.1", ports["tcp"]) == "EPERM"


def test_a_component_reaches_what_is_listed_from_an_empty_network_namespace(
    host: RunningHost, ports: dict[str, int]
) -> None:
    with host.client() as client:
        assert client.call("forth/fetcher", "interfaces") == ["lo"]
        assert client.call("forth/fetcher", "fetch", "127.0.0.1", ports["tcp"]) == "ping"
        assert client.call("forth/fetcher", "fetch", "localhost", ports["tcp"]) == "ping"
        assert client.call("forth/fetcher", "fetch", "127.0.0.1", ports["other"]) == "EACCES"
    own, ours = (os.readlink(f"/proc/{pid}/ns/net") for pid in (host.loop("forth.fetcher")["pid"], "self"))
    assert own != ours
    host.wait_for(r"forth.fetcher +active .*net pid mnt ipc uts ns")
    shown = host.cli("sandbox", "show", "forth.fetcher").stdout
    assert "its network namespace is empty; the supervisor makes its sockets outside" in shown
    asked = host.cli("sandbox", "explain", "forth.fetcher", "socket", "AF_INET", "SOCK_STREAM")
    assert asked.returncode == 0 and "performed by the supervisor" in asked.stdout


@pytest.mark.parametrize("address", ["forth/fetcher", "external/fetcher"])  # an empty namespace, and the host's
def test_a_captured_component_takes_no_datagram_of_a_peer_that_no_rule_lists(host: RunningHost, address: str) -> None:
    """A send without an address binds its socket to a port of the host, which would be a door that was not granted."""
    with host.client() as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        port = client.call(address, "bind_by_sending")
        assert port
        stranger.sendto(b"let me in", ("127.0.0.1", port))  # over loopback it is there, or never will be
        assert client.call(address, "unasked") == "EAGAIN"


def use_of(host: RunningHost, process: str) -> dict[str, Any]:
    answer = json.loads(host.cli("egress", "--json").stdout)
    return next(one for one in answer["processes"] if one["process"] == process)


def test_a_budget_of_connections_at_once_holds_until_one_is_closed(host: RunningHost, ports: dict[str, int]) -> None:
    place = "127.0.0.1", ports["tcp"]
    with host.client() as client:
        assert [client.call("third/few", "hold", *place) for _ in range(4)] == ["", "", "EDQUOT", "EDQUOT"]
        events = host.cli("events", "--kind", "security").stdout
        assert "egress_denied" in events and "a connection was refused (connections at once): the echo server" in events
        client.call("third/few", "let_go")
        until(lambda: client.call("third/few", "hold", *place) == "", "room for one more connection")
    use = use_of(host, "third.few")
    assert use["denied"] >= 2 and use["denials"][0]["what"] == "at_once" and use["entries"][0]["open"] == 1
    lines = host.cli("egress").stdout
    assert "1 of 2" in lines and "at_once  the echo server: at_once is 2" in lines


def test_a_budget_of_connections_a_minute_outlives_the_process(host: RunningHost, ports: dict[str, int]) -> None:
    place = "127.0.0.1", ports["tcp"]
    with host.client() as client:
        assert [client.call("third/slow", "fetch", *place) for _ in range(2)] == ["ping", "ping"]
        after = len(host.console)
        assert host.cli("restart", "third.slow").returncode == 0
        host.wait_for("^third.slow +active ", after=after)
        assert [client.call("third/slow", "fetch", *place) for _ in range(2)] == ["ping", "EDQUOT"]
        assert host.loop("third.slow")["violations"] == 0


def test_a_budget_of_bytes_ends_what_goes_on(host: RunningHost, ports: dict[str, int]) -> None:
    with host.client() as client:
        assert client.call("third/small", "hold", "127.0.0.1", ports["tcp"]) == ""
        assert client.call("third/small", "carry", 1 << 19) == ""
        once = range(1 << 19, (1 << 19) + 2)

        def is_counted() -> bool:  # what was sent counts when the peer's kernel has acknowledged it, a moment later
            entry = use_of(host, "third.small")["entries"][0]
            return entry["sent_bytes_today"] in once and entry["received_bytes_today"] in once

        until(is_counted, "all bytes, once each")
        ended = client.call("third/small", "carry", 1 << 20)  # the supervisor may look meanwhile, it does every 2 s
        if not ended:
            host.cli("egress")  # asks the kernel, too
            ended = client.call("third/small", "carry", 1 << 14)
        assert client.call("third/small", "fetch", "127.0.0.1", ports["tcp"]) == "EDQUOT"
    if os.geteuid() == 0:  # who may not end a connection of others lets it go on, and refuses new ones
        assert ended == "ECONNABORTED"
    kept = json.loads((host.config.run_dir / "egress-use.json").read_text())
    assert next(iter(kept["third.small"].values()))[1] > 1 << 20


def test_explain_says_what_happens(host: RunningHost, ports: dict[str, int]) -> None:
    allowed = host.cli("sandbox", "explain", "external", f"127.0.0.1:{ports['tcp']}")
    refused = host.cli("sandbox", "explain", "external", f"127.0.0.1:{ports['other']}")
    assert allowed.returncode == 0 and "the echo server of the test" in allowed.stdout
    assert refused.returncode == 1
