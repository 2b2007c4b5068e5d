"""A person behind a symmetric NAT calls, directly and by a relay: real Chromium, real coturn, three namespaces."""

from __future__ import annotations

import asyncio
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, calling_host, ring, until
from hosts.home_behind_nat import SECRET, TURN, HomeBehindNat
from hosts.joined_messages import set_secret
from hosts.joined_networks import PEER, JoinedNetworks, inside
from hosts.running_host import RunningHost
from tools.extras import need_extra

from tlsrt import TlsrtError
from tlsrt.loops.external.call_relays import CREDENTIALS_S, credentials

need_extra("calling", "aioice")
from aioice import stun, turn  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")
SERVERS = [f"stun:{PEER}:{TURN}", f"turn:{PEER}:{TURN}"]
Made = tuple[RunningHost, JoinedNetworks, HomeBehindNat, CallingBrowser]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    with calling_host(request, "nat", servers=SERVERS) as (host, networks):
        home = HomeBehindNat(networks)
        try:
            with inside(home.space):
                browser = CallingBrowser()
            with browser:
                yield host, networks, home, browser
        finally:
            home.close()


def servers_of(host: RunningHost) -> list[dict[str, Any]]:
    with host.client("anna") as anna:
        found: list[dict[str, Any]] = anna.call(CALLS, "servers")["ice_servers"]
        return found


def has_relay(host: RunningHost) -> bool:
    try:
        return len(servers_of(host)) == 2
    except TlsrtError:
        return False


def test_without_its_secret_the_relay_is_not_told_and_the_log_says_why(made: Made) -> None:
    host = made[0]
    assert servers_of(host) == [{"urls": SERVERS[:1]}]
    until(lambda: "set the secret turn" in host.log("external.calls"))
    set_secret(host, "turn", SECRET + b"\n", CALLS)
    until(lambda: has_relay(host))  # it was started anew with it
    relay = servers_of(host)[1]
    assert relay["username"].endswith(":client/anna") and SECRET.decode() not in str(relay)
    assert 0 < int(relay["username"].partition(":")[0]) - time.time() <= CREDENTIALS_S


def test_a_symmetric_nat_needs_no_relay_as_the_host_has_an_address(made: Made) -> None:
    host, _, _, browser = made
    with host.client("anna") as anna:
        spoken, call = ring(anna, browser)
        spoken.next("connected")
        until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
        anna.call(CALLS, "hang_up", call)
        spoken.next("ended")


def test_where_nothing_but_the_relay_is_reached_a_call_goes_by_it_and_ends_with_a_lock(made: Made) -> None:
    host, _, home, browser = made
    home.shut(is_shut=True)
    try:
        browser.fresh()
        with host.client("anna") as anna:
            spoken, call = ring(anna, browser)
            spoken.next("answered")
            with pytest.raises(queue.Empty):
                spoken.items.get(timeout=2)
            anna.call(CALLS, "hang_up", call)
            spoken.next("ended")
            browser.fresh()
            begun_s = time.monotonic()
            spoken, call = ring(anna, browser, servers=anna.call(CALLS, "servers")["ice_servers"])
            spoken.next("connected")
            print(f"by the relay after {time.monotonic() - begun_s:.3f} s")
            until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
            assert host.cli("lock").returncode == 0
            done_s = time.time()
        until(browser.closed_s)
        closed_s, last_s = browser.closed_s() - done_s, browser.run("all.lastAt") / 1000 - done_s
        print(f"closed after {closed_s:.3f} s, sound for {last_s:.3f} s")
        assert closed_s < 0.3 and last_s < 0.3
        assert host.cli("unlock").returncode == 0
    finally:
        home.shut(is_shut=False)


async def allocate(user: str, password: str) -> None:
    transport, _ = await turn.create_turn_endpoint(
        asyncio.DatagramProtocol, server_addr=(PEER, TURN), username=user, password=password
    )
    transport.close()
    await asyncio.sleep(0)


def test_the_relay_refuses_credentials_that_are_over_or_another_ones(made: Made) -> None:
    now_s = int(time.time())
    good = credentials(SECRET, "client/anna", now_s)
    over = credentials(SECRET, "client/anna", now_s - CREDENTIALS_S - 60)
    with inside(made[1].host):
        asyncio.run(allocate(*good))
        for user, password in (
            over,
            (good[0].replace("anna", "eve"), good[1]),
            (str(now_s + 9 * CREDENTIALS_S), good[1]),
        ):
            with pytest.raises(stun.TransactionFailed):
                asyncio.run(allocate(user, password))
