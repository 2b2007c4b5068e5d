"""A door on a real socket behind a proxy that says for whom it connects."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import Any

import pytest
from attackers.door_client import Attacker, raw, read_to_end, until
from hosts.door_host import DoorHost, Site, run

from tlsrt.channels.tls.connection import ConnectionLimits
from tlsrt.loops.door import fair_pool
from tlsrt.loops.door.admission import AdmissionLimits
from tlsrt.loops.door.door import DoorLimits
from tlsrt.loops.door.proxy import SIGNATURE


@pytest.fixture(scope="module")
def lasting_site() -> Any:
    site = Site()
    yield site
    site.listener.close()


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return lasting_site


def behind(address: str) -> bytes:
    """A PROXY header for a client of this IPv4 address."""
    packed = socket.inet_aton(address)
    return SIGNATURE + b"\x21\x11\x00\x0c" + packed + packed + b"\x10\x00\x01\xbb"


PROXIED = DoorLimits(proxies=frozenset({"127.0.0.1"}))


@run
async def test_a_listed_proxy_says_who_is_behind_it(site: Site) -> None:
    host = DoorHost(site, PROXIED)
    peer = Attacker(site, await raw(site), before=behind("192.0.2.7"))
    await peer.granted()
    assert [client.accepted.address for client in host.door._clients.values()] == ["192.0.2.7"]
    peer.sock.close()
    await host.server.drain(5)


@run
async def test_limits_are_of_who_is_behind_the_proxy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_pool, "LATE_S", 0.0)
    host = DoorHost(site, DoorLimits(AdmissionLimits(per_address=1), proxies=frozenset({"127.0.0.1"})))
    first, second, other = [await raw(site) for _ in range(3)]
    loop = asyncio.get_running_loop()
    counters = host.server.counters
    for number, (sock, address) in enumerate(((first, "192.0.2.7"), (second, "192.0.2.7"), (other, "192.0.2.8")), 1):
        await loop.sock_sendall(sock, behind(address))
        await until(lambda: host.server.unauthenticated + counters["crowded_out"] == number)  # noqa: B023
    with closing(first):
        assert await read_to_end(first) == b""
    assert (counters["crowded_out"], host.server.unauthenticated) == (1, 2)
    second.close()
    other.close()
    await host.server.drain(5)


@pytest.mark.parametrize(
    ("data", "word"), [(b"GET / HTTP/1.1\r\n\r\n", "proxy_signature"), (b"", "proxy_timeout"), (None, "proxy_cut")]
)
@run
async def test_a_proxy_without_a_header_gets_nothing(site: Site, data: bytes | None, word: str) -> None:
    limits = DoorLimits(connection=ConnectionLimits(handshake_s=0.1), proxies=frozenset({"127.0.0.1"}))
    host = DoorHost(site, limits)
    with closing(await raw(site)) as sock:
        if data is None:
            sock.shutdown(socket.SHUT_WR)
        else:
            await asyncio.get_running_loop().sock_sendall(sock, data)
        try:
            assert await read_to_end(sock) == b""
        except ConnectionResetError:
            pass  # what it had sent was not read
    await until(lambda: host.server.counters[word] == 1)
    assert (host.server.connections, host.server.proxied) == (0, 0)
    await host.server.drain(5)


@run
async def test_a_header_of_somebody_who_is_not_listed_is_no_tls(site: Site) -> None:
    host = DoorHost(site)
    with closing(await raw(site)) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, behind("192.0.2.7"))
        alert = await read_to_end(sock)
    assert alert[:1] == b"\x15" and host.server.counters["no_tls"] == 1
    await host.server.drain(5)
