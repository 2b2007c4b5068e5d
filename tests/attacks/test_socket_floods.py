"""Attacked sentences: a component that floods the broker, or connects to who never answers, holds up no one else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.echo_server import echo_servers
from fakes.silent_server import silent_server
from hosts.running_host import RunningHost, running
from probes.descriptors import lasting

from tlsrt.supervisor.process.syscall_monitor import BROKERED_BURST, CONNECTING_MOST

PACKAGE = Path(__file__).parents[1] / "hosts" / "fetching_package" / "fetching"
CAPTURED, NEIGHBOUR = "forth/fetcher", "third/fetcher"
_THREADS = CONNECTING_MOST + 8
_AT_ONCE_S = 1.0  # what a neighbour's connection may take: with a supervisor that waits it would be minutes


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with echo_servers() as found:
        yield found


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    with silent_server() as port:
        yield port


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, ports: dict[str, int], silent: int) -> Iterator[RunningHost]:
    egress = [{"to": [f"127.0.0.1:{ports['tcp']}", f"127.0.0.1:{silent}"], "why": "servers of the test"}]
    one = {"class": "fetching:Fetcher", "needs": {"egress": egress}}
    captured = {"class": "fetching:Flooder", "needs": {"egress": egress, "threads": _THREADS, "open_files": 2048}}
    yield from running(
        request, components={CAPTURED: captured, NEIGHBOUR: one}, packages=[PACKAGE],
        policy={f"client/admin -> {address}": "*" for address in (CAPTURED, NEIGHBOUR)},
    )  # fmt: skip


def descriptors(host: RunningHost) -> int:
    return len(lasting(host.pids()["supervisor"]))


def neighbour_s(host: RunningHost, port: int) -> float:
    """Return how long a neighbour's connection takes now."""
    with host.client() as client:
        began = time.monotonic()
        assert client.call(NEIGHBOUR, "fetch", "127.0.0.1", port) == "ping"
        return time.monotonic() - began


def test_who_asks_for_sockets_without_a_pause_waits_and_no_neighbour_does(
    host: RunningHost, ports: dict[str, int]
) -> None:
    before = descriptors(host)
    with host.client() as client:
        assert client.call(CAPTURED, "begin_flood", BROKERED_BURST * 2) == "begun"
        assert neighbour_s(host, ports["tcp"]) < _AT_ONCE_S
        assert client.call(CAPTURED, "end_flood", timeout_s=30) == BROKERED_BURST * 2
    host.until(lambda status: descriptors(host) <= before + 2, "that the supervisor keeps none of them")
    assert host.loop("forth.fetcher")["violations"] == 0


def test_who_connects_to_a_host_that_never_answers_holds_up_nobody(
    host: RunningHost, ports: dict[str, int], silent: int
) -> None:
    before = descriptors(host)
    with host.client() as client:
        assert client.call(CAPTURED, "begin_stalling", "127.0.0.1", silent, _THREADS) == "begun"
        host.until(lambda status: descriptors(host) >= before + CONNECTING_MOST, "connections under way")
        assert descriptors(host) <= before + CONNECTING_MOST + 4
        assert neighbour_s(host, ports["tcp"]) < _AT_ONCE_S
    host.respawn("forth.fetcher")
    host.until(lambda status: descriptors(host) <= before + 2, "that all end with the process")
