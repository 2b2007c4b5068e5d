"""external/firewall as an operator adds it, through TLS, in the full sandbox, on packets of a second namespace."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hosts.joined_networks import PEER, JoinedNetworks, inside, is_undone, said, until
from hosts.running_host import RunningHost, running

from tlsrt import Busy, InvalidArgument, NotFound

FIREWALL, PROCESS, TABLE = "external/firewall", "external.firewall", "tlsrt_test"
OPEN, SHUT = 4001, 4002
RULES = (
    "input={policy: drop, rules: [{name: blocked, sources: ['@bad'], action: drop}, "
    "{name: known, states: [established, related], action: accept}, {name: own, interfaces: [lo], action: accept}, "
    "{name: web, protocol: tcp, ports: [4001], rate: 1000/second, burst: 100, log: true, action: accept}]}"
)
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's"),
]


@pytest.fixture(scope="module")
def networks() -> Iterator[JoinedNetworks]:
    made = JoinedNetworks("fw")
    yield made
    made.close()


@pytest.fixture(scope="module")
def ports(networks: JoinedNetworks) -> Iterator[None]:
    sockets = [networks.listening(port) for port in (OPEN, SHUT)]
    yield
    for one in sockets:
        one.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, networks: JoinedNetworks, ports: None) -> Iterator[RunningHost]:
    with inside(networks.host):
        said("nft", "add table inet other; add chain inet other untouched")
        for host in running(request, execute=True):
            words = ["--option", "name=test", "--option", "confirm_s=2", "--option", "look_s=2", "--option", RULES]
            words += ["--option", "sets={bad: {timeout_s: 600, elements: [192.0.2.0/24], most: 4}}"]
            words += ["--option", "spared=[10.9.0.0/16, 'fd00::/8']"]
            added = host.cli("component", "add", FIREWALL, "--yes", *words, "--allow", 'client/admin: "*"')
            assert added.returncode == 0, added.stderr
            yield host
            assert "untouched" in said("nft", "list", "table", "inet", "other"), "nothing else was touched"


@pytest.fixture
def call(host: RunningHost) -> Iterator[Callable[..., Any]]:
    client = host.client()
    yield lambda method, *args: client.call(FIREWALL, method, *args)
    client.call(FIREWALL, "remove")


def test_a_confirmed_change_drops_and_accepts_packets(
    call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost
) -> None:
    assert networks.reaches(OPEN) and networks.reaches(SHUT)
    planned = call("plan")
    assert "+input policy: drop" in planned["changes"] and planned["loaded"] is None
    assert planned["warnings"] == [
        "TCP port 7443 would be open only as own let it by these rules of input: add a rule that accepts it"
    ]
    applied = call("apply")
    assert applied["confirm_within_s"] == 2 and networks.reaches(OPEN) and not networks.reaches(SHUT)
    with pytest.raises(Busy, match="waits to be confirmed"):
        call("apply")
    call("confirm", applied["revision"])
    until(lambda: call("status")["trial"] is None)
    time.sleep(2.2)  # the time of the trial is what is tested: nothing may go back after it
    assert networks.reaches(OPEN) and not networks.reaches(SHUT)
    status = call("status")
    assert (status["revision"], status["by"], status["drift"]) == (applied["revision"], "client/admin", None)
    counters = call("counters")
    assert counters["input.web"]["packets"] >= 1 and counters["input.policy"]["packets"] >= 1
    assert call("plan")["changes"] == []


def test_what_is_not_confirmed_goes_back_by_itself(call: Callable[..., Any], networks: JoinedNetworks) -> None:
    applied = call("apply")
    assert not networks.reaches(SHUT)
    until(lambda: networks.reaches(SHUT, 0.1), 10)
    until(lambda: call("status")["trial"] is None)
    assert call("revisions")[0]["why"] == "not confirmed in time"
    with pytest.raises(NotFound, match="not on trial"):
        call("confirm", applied["revision"])


def test_an_address_is_blocked_and_let_go(call: Callable[..., Any], networks: JoinedNetworks) -> None:
    call("confirm", call("apply")["revision"])
    assert networks.reaches(OPEN)
    call("block", "bad", PEER, 300)
    assert not networks.reaches(OPEN)
    assert [one["address"] for one in call("blocked", "bad")] == [PEER]
    again = call("apply")
    assert not networks.reaches(OPEN), "a new revision keeps what is blocked"
    call("undo", again["revision"])
    assert not networks.reaches(OPEN) and [one["address"] for one in call("blocked", "bad")] == [PEER]
    call("unblock", "bad", PEER)
    assert networks.reaches(OPEN)
    for number in range(4):  # neighbours, and as many as fit
        call("block", "bad", f"198.18.0.{number}")
    call("block", "bad", "198.18.0.2")
    with pytest.raises(Busy, match="set bad is full"):
        call("block", "bad", "198.18.0.9")
    with pytest.raises(InvalidArgument, match="no address"):
        call("block", "bad", "1.2.3.4; flush ruleset")
    with pytest.raises(InvalidArgument, match="which is `spared`"):
        call("block", "bad", "10.9.0.1")
    with pytest.raises(NotFound, match="no set"):
        call("block", "worse", PEER)


def test_what_another_program_changes_is_told(
    call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost
) -> None:
    call("confirm", call("apply")["revision"])
    assert call("status")["drift"] is None
    with inside(networks.host):
        said("nft", f"add rule inet {TABLE} kept_input accept")
    assert "is not as it was loaded" in call("status")["drift"]
    call("confirm", call("apply")["revision"])
    assert call("status")["drift"] is None


def test_a_killed_component_undoes_its_trial(
    call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost
) -> None:
    call("apply")
    assert not networks.reaches(SHUT)
    os.kill(host.pids()[PROCESS], signal.SIGKILL)
    until(lambda: networks.reaches(SHUT, 0.1), 10)
    until(lambda: is_undone(call))


def test_it_goes_back_when_the_supervisor_is_killed_and_lasts_over_a_boot(
    call: Callable[..., Any], networks: JoinedNetworks, host: RunningHost
) -> None:
    kept = call("apply")["revision"]
    call("confirm", kept)
    call("block", "bad", "198.51.100.7")
    until(lambda: not networks.reaches(SHUT))
    with inside(networks.host):
        said("nft", f"delete table inet {TABLE}")  # as after a boot
    os.kill(host.pids()[PROCESS], signal.SIGKILL)
    until(lambda: not networks.reaches(SHUT, 0.1))
    until(lambda: host.loop(PROCESS)["state"] == "active")
    assert call("status")["revision"] == kept
    call("remove")
    assert networks.reaches(SHUT)
    call("apply")
    assert not networks.reaches(SHUT)
    assert host.process is not None
    host.process.kill()
    host.process.wait()
    took = until(lambda: networks.reaches(SHUT, 0.1), 10)
    assert took < 8, "no process of ours was there to do it"
    assert host.process.stdout is not None
    host.process.stdout.close()
    with inside(networks.host):
        host.start()
    host.until(
        lambda document: any(one["name"] == PROCESS and one["state"] == "active" for one in document["loops"]),
        "the firewall",
    )
    client = host.client()
    until(lambda: is_undone(lambda method: client.call(FIREWALL, method)))
