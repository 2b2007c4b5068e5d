"""Who may be at a door on a real socket, and for how long: silent and slow connections, shares, deadlines."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing
from typing import Any

import pytest
from attackers.door_client import Attacker, attacker, raw, read_to_end, until
from hosts.door_host import STORE, DoorHost, Site, run

from tlsrt import AsyncClient
from tlsrt.channels.tls.connection import ConnectionLimits
from tlsrt.loops.door import fair_pool
from tlsrt.loops.door.admission import AdmissionLimits
from tlsrt.loops.door.door import DoorLimits


@pytest.fixture(scope="module")
def lasting_site() -> Any:
    site = Site()
    yield site
    site.listener.close()


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return lasting_site


@run
async def test_the_17th_silent_connection_of_an_address_cuts_the_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_pool, "LATE_S", 0.0)
    host = DoorHost(site)
    silent = [await raw(site) for _ in range(16)]
    await until(lambda: host.server.unauthenticated == 16)
    silent.append(await raw(site))
    with closing(silent.pop(0)) as first:
        assert await read_to_end(first) == b""
    assert host.server.counters["crowded_out"] == 1 and host.server.unauthenticated == 16
    async with AsyncClient(site.bundle) as client:  # that cuts another; then it does not count against its address
        await until(lambda: host.server.unauthenticated == 15)
        silent.append(await raw(site))
        await until(lambda: host.server.unauthenticated == 16)
        assert await client.call(STORE, "echo", 1) == [1]
        assert host.server.connections == 17
    for sock in silent:
        sock.close()
    await host.server.drain(5)
    assert (host.server.connections, host.server.unauthenticated) == (0, 0)


@run
async def test_a_full_door_cuts_the_oldest_silent_connection(site: Site) -> None:
    host = DoorHost(site, DoorLimits(admission=AdmissionLimits(unauthenticated=2, per_address=9)))
    socks = [await raw(site) for _ in range(3)]
    assert await read_to_end(socks[0]) == b""
    assert host.server.counters["crowded_out"] == 1 and host.server.unauthenticated == 2
    for sock in socks:
        sock.close()
    await host.server.drain(5)


@run
async def test_a_client_over_its_share_is_told_so_at_its_idlest_connection(site: Site) -> None:
    host = DoorHost(site, DoorLimits(admission=AdmissionLimits(connections=2)))
    idle, *others = [await attacker(site) for _ in range(2)]
    for peer in (idle, *others):
        await peer.granted()
    others.append(await attacker(site))
    assert (await others[-1].next()).name == "challenge"
    assert await idle.end() == "busy"
    assert host.over_places == ["client/admin"] and host.server.connections == 2
    for peer in (idle, *others):
        peer.sock.close()
    await host.server.drain(5)


@run
async def test_fifty_clients_of_one_address_get_in_at_once(site: Site) -> None:
    """Their hellos wait while others are served: what was sent and not read yet is no silence."""
    host = DoorHost(site, DoorLimits(admission=AdmissionLimits(unauthenticated=64, per_address=4)))
    peers: list[Attacker] = []
    for _ in range(50):
        sock = socket.create_connection(site.listener.getsockname())
        peers.append(Attacker(site, sock))
        sock.sendall(peers[-1].engine.take_outgoing())
        sock.setblocking(False)
    for peer in peers:
        await peer.granted()
    assert host.server.counters["handshakes"] == 50 and not host.server.counters["crowded_out"]
    for peer in peers:
        peer.sock.close()
    await host.server.drain(5)


@run
async def test_connections_that_send_byte_by_byte_hold_up_no_other(site: Site) -> None:
    """There are always some with a byte that was not read yet, and more than half of the places are theirs."""
    host = DoorHost(
        site, DoorLimits(AdmissionLimits(unauthenticated=24, per_address=24), ConnectionLimits(60.0, hello_s=60.0))
    )
    slow = [socket.create_connection(site.listener.getsockname()) for _ in range(16)]
    sent = 0

    async def dribble() -> None:
        nonlocal sent
        for sock in slow:
            sock.sendall(b"\x16\x03\x01\x04\x00\x01\x00\x03\xfc\x03\x03")  # a hello of 1020 bytes
        while sent < 1000:
            for sock in slow:
                sock.send(b"\0")
            sent += 1
            await asyncio.sleep(0)

    dribbling = asyncio.create_task(dribble())
    await until(lambda: host.server.unauthenticated == 16 and sent > 100)
    newcomer = await attacker(site)
    await newcomer.granted()
    assert sent < 1000 and host.server.connections == 17
    dribbling.cancel()
    for sock in [*slow, newcomer.sock]:
        sock.close()
    await host.server.drain(5)


@run
async def test_the_first_flight_is_due_before_the_rest_of_the_handshake(site: Site) -> None:
    host = DoorHost(site, DoorLimits(connection=ConnectionLimits(handshake_s=30.0, hello_s=1.0)))
    silent, slow, half = await raw(site), Attacker(site, await raw(site)), Attacker(site, await raw(site))
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(slow.sock, slow.engine.take_outgoing()[:-1])
    await loop.sock_sendall(half.sock, half.engine.take_outgoing())
    with closing(silent), closing(slow.sock), closing(half.sock):
        assert await read_to_end(silent) == b"" and (await read_to_end(slow.sock))[-2:] == b"\x01\x00"
        slow.sock.shutdown(socket.SHUT_WR)
        await until(lambda: host.server.unauthenticated == 1)
        assert host.server.counters["hello_timeout"] == 2
        assert (await half.next()).name == "challenge" and host.server.unauthenticated == 0
    await host.server.drain(5)


@run
async def test_a_handshake_has_one_deadline_in_all(site: Site) -> None:
    host = DoorHost(site, DoorLimits(connection=ConnectionLimits(handshake_s=0.1)))
    loop = asyncio.get_running_loop()
    half = Attacker(site, await raw(site))
    silent = await raw(site)
    hello = half.engine.take_outgoing()
    start = loop.time()
    with closing(half.sock), closing(silent):
        for at in range(50):  # one byte after the other does not buy time
            await loop.sock_sendall(half.sock, hello[at : at + 1])
        assert await read_to_end(silent) == b""
        assert (await read_to_end(half.sock))[-2:] == b"\x01\x00"  # a close_notify in the clear
        assert loop.time() - start < 10
    assert host.server.counters["handshake_timeout"] == 2
    await host.server.drain(5)


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@run
async def test_a_silent_connection_costs_less_than_20_kib(site: Site) -> None:
    host = DoorHost(site, DoorLimits(AdmissionLimits(2000, 2000, 2000), ConnectionLimits(hello_s=5.0)))
    warm = [await raw(site) for _ in range(20)]
    await until(lambda: host.server.connections == 20)
    before = resident_bytes()
    silent = [await raw(site) for _ in range(200)]
    await until(lambda: host.server.connections == 220)
    assert (resident_bytes() - before) / 200 < 20 * 1024
    for sock in warm + silent:
        sock.close()
    await host.server.drain(5)
