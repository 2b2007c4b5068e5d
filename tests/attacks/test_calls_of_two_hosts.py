"""Attacked sentence: a call of two hosts is a session of one with the other, for whom that names, and nothing else."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hosts.calling_host import CALLS, OTHER, TELEPHONE, until
from hosts.calling_hosts import calling_hosts
from hosts.joined_networks import HOST, JoinedNetworks, inside
from hosts.running_host import RunningHost

from tlsrt import AsyncClient, Busy, Denied, InvalidArgument, NotFound, Rejected
from tlsrt.loops.external.call_leg import ANSWER
from tlsrt.loops.external.call_rates import RINGS_PER_MINUTE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")
Made = tuple[RunningHost, RunningHost, JoinedNetworks]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    with calling_hosts(request, "lies") as one:
        yield one


async def nothing_said() -> AsyncIterator[bytes]:
    await asyncio.sleep(3600)
    yield b""


async def first_piece(client: AsyncClient, number: str, by: str, method: str = "dial_from") -> Any:
    words = [number, by, "says"] if method == "dial_from" else [number, "says"]
    items = client.exchange(CALLS, method, nothing_said(), *words)
    try:
        return await anext(items, None)
    finally:
        await items.aclose()


def ring_as(host: RunningHost, client: str, number: str, by: str, method: str = "dial_from") -> Any:
    """Ring as a captured host would, by its bundle."""

    async def run() -> Any:
        async with AsyncClient(host.bundle(client)) as one:
            return await first_piece(one, number, by, method)

    return asyncio.run(run())


def test_who_is_no_host_rings_for_no_host(made: Made) -> None:
    attic = made[1]
    with pytest.raises(Denied, match="client/eve is no host here"):
        ring_as(attic, "eve", "door", "client/anna")
    with pytest.raises((Denied, Rejected)):  # and a host rings as nobody else
        ring_as(attic, "kettle", "own", "", "dial")


@pytest.mark.parametrize(
    "by", ["client/ben@attic", "client/anna@kettle", "kettle", "client/", "client/\x1b[2J", "xxx/anna", "client/a b"]
)
def test_an_odd_caller_is_no_caller(made: Made, by: str) -> None:
    with pytest.raises(InvalidArgument, match="by: "):
        ring_as(made[1], "kettle", "door", by)


@pytest.mark.parametrize(
    ("number", "by"),
    [("ben", "client/eve"), ("ben", "client/bob"), ("ben", "client/ben"), ("own", "client/anna"), ("none", "client/a")],
)
def test_a_number_that_is_not_for_that_one_is_none(made: Made, number: str, by: str) -> None:
    """`client/bob` may ring ben, as a client of attic: one whom kettle calls so is `client/bob@kettle`."""
    with pytest.raises(NotFound, match=f"no number '{number}' for {by}@kettle"):
        ring_as(made[1], "kettle", number, by)


def test_a_host_that_lies_ends_its_own_call_and_costs_no_other(made: Made) -> None:
    kettle = made[0]
    pid = kettle.pids()["external.calls"]
    with kettle.client() as admin:
        for number in ("garbage", "flood"):
            told = admin.call(OTHER, "ring", number, 100_000, timeout_s=60)
            assert told["pieces"] < 1000, told
            until(lambda: "pieces a second" in kettle.log("external.calls") or number == "garbage")  # noqa: B023
        assert "at most 1920 bytes" in kettle.log("external.calls")
        told = admin.call(OTHER, "ring", "words", 1)
        assert told["code"] == "Busy"
        talks: list[dict[str, Any]] = []
        ringing = threading.Thread(target=lambda: talks.append(admin.call(OTHER, "ring", "deaf", 30, timeout_s=60)))
        ringing.start()
        ringing.join(30)
        assert talks and talks[0]["pieces"] == 30  # it hangs up, whatever the other host does
        until(lambda: admin.call(OTHER, "ring", "attic", 20)["hertz"] > 400)
    assert "\x1b" not in kettle.log("external.calls")
    assert kettle.loop("external.calls")["violations"] == 0 and kettle.pids()["external.calls"] == pid


def test_what_comes_from_elsewhere_is_of_no_call(made: Made) -> None:
    """Sound of hosts goes by their session: no datagram is of such a call, to whichever of the two it comes."""
    kettle, attic, networks = made
    with inside(networks.peer):
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.settimeout(0.2)
    with stranger, kettle.client() as here, attic.client() as there, attic.client("ben") as ben:
        talking = threading.Thread(target=lambda: here.call(OTHER, "ring", "attic", 200, timeout_s=60))
        talking.start()
        until(lambda: there.call(TELEPHONE, "report")["loud"] > 20)
        for data in (b"\x80\x6f", b"\x16\xfe\xfd", b"\0\1\0\0\x21\x12\xa4\x42"):
            for port in (7444, 7445):
                stranger.sendto(data + secrets.token_bytes(172), (HOST, port))
        until(lambda: ben.call(CALLS, "metrics")["counters"].get("strangers", 0) >= 3)
        with pytest.raises(TimeoutError):
            stranger.recv(2000)
        talking.join(30)
        state = there.call(TELEPHONE, "report")
    assert abs(state["hertz"] - 440) < 30 and state["others"] == []


def test_a_host_has_its_share_and_a_flood_of_its_rings_is_refused_for_all_of_it(made: Made) -> None:
    kettle, attic, _ = made

    async def run() -> str:
        async with AsyncClient(attic.bundle("kettle")) as client:
            items = [client.exchange(CALLS, "dial_from", nothing_said(), "door", f"client/c{n}", "") for n in range(2)]
            assert [await anext(one) for one in items] == [ANSWER] * 2
            with pytest.raises(Busy, match="which is its share"):
                await first_piece(client, "door", "client/c3")
            for one in items:
                await one.aclose()
            while True:  # each attempt counts, also one that is declined, and one beyond the share
                try:
                    await first_piece(client, "declining", f"client/d{secrets.token_hex(4)}")
                except Busy as error:
                    if "its share" not in error.message:
                        return error.message

    assert asyncio.run(run()) == f"the host kettle has rung {RINGS_PER_MINUTE} times within a minute"
    with kettle.client() as here, attic.client() as there:
        assert here.call(OTHER, "ring", "attic", 1)["code"] == "Busy"  # it is of that host
        assert there.call(OTHER, "ring", "own", 20)["hertz"] > 400  # which costs no one else
