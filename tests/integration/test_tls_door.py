"""The door on real sockets: admission, deadlines, alerts, what a client may say when, back-pressure, reload, drain."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from hosts.door_host import BOOT, INSTALL, STORE, DoorHost, Site, run

from tlsrt import AsyncClient
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.frames.frame import pack_frame
from tlsrt.channels.session.opening import Opening, identity_of
from tlsrt.channels.tls import message_stream
from tlsrt.channels.tls.client_hello import X25519MLKEM768
from tlsrt.channels.tls.connection import ConnectionLimits
from tlsrt.channels.tls.engine import State, TlsEngine
from tlsrt.channels.tls.message_stream import Control, StreamReader, encode_control
from tlsrt.config import pki
from tlsrt.loops.door import fair_pool
from tlsrt.loops.door.admission import AdmissionLimits
from tlsrt.loops.door.door import DoorLimits
from tlsrt.loops.door.proxy import SIGNATURE
from tlsrt.loops.door.tls_contexts import PROTOCOLS


@pytest.fixture(scope="module")
def lasting_site() -> Any:
    site = Site()
    yield site
    site.listener.close()


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return lasting_site


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def raw(site: Site) -> socket.socket:
    """A TCP connection to the door, without a word said."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, site.listener.getsockname())
    return sock


async def read_to_end(sock: socket.socket) -> bytes:
    """Everything up to an orderly end; a reset raises."""
    data = b""
    while piece := await asyncio.get_running_loop().sock_recv(sock, 65536):
        data += piece
    return data


class Attacker:
    """A client that may say anything, over our engine."""

    def __init__(
        self, site: Site, sock: socket.socket, *, before: bytes = b"", engine: TlsEngine | None = None
    ) -> None:
        self.site = site
        self.sock = sock
        self.before = before  # what is sent before TLS
        self.engine = engine or TlsEngine(
            client_context(site.bundle), server_side=False, protocols=PROTOCOLS, server_name="localhost"
        )
        self.reader = StreamReader(message_stream.PAYLOAD_MAX)
        self.payloads: list[bytes] = []

    async def send(self, *payloads: bytes) -> None:
        await self.send_bytes(b"".join(map(message_stream.wrap, payloads)))

    async def send_bytes(self, data: bytes) -> None:
        self.engine.write(data)
        await asyncio.get_running_loop().sock_sendall(self.sock, self.engine.take_outgoing())

    async def step(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.sock, self.before + self.engine.take_outgoing())
        self.before = b""
        data = await loop.sock_recv(self.sock, 65536)
        if not data:
            self.engine.receive_eof()
        self.payloads += self.reader.feed_untrusted(self.engine.receive_untrusted(data))

    async def next(self) -> Control:
        while not self.payloads:
            assert self.engine.state in (State.HANDSHAKE, State.OPEN), self.engine.failure
            await self.step()
        return message_stream.parse_control_untrusted(self.payloads.pop(0), "server")

    async def end(self) -> str:
        """The last word, once the server has closed in good order."""
        while self.engine.state in (State.HANDSHAKE, State.OPEN):
            await self.step()
        assert self.engine.peer_closed, self.engine.failure
        return str(message_stream.parse_control_untrusted(self.payloads[-1], "server").fields[0])

    async def opened(self) -> bytes:
        """Answer the challenge; return what was said, as a payload."""
        challenge = await self.next()
        opening = Opening(identity_of(self.site.bundle))
        payload = encode_control("open", *opening.answer_untrusted(*challenge.fields[:3]))
        await self.send(payload)
        return payload

    async def granted(self) -> bytes:
        payload = await self.opened()
        assert (await self.next()).name == "granted"
        return payload


async def attacker(site: Site) -> Attacker:
    return Attacker(site, await raw(site))


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


@run
async def test_a_client_that_never_opens_is_refused(site: Site) -> None:
    host = DoorHost(site, DoorLimits(opening_s=0.05))
    mallory = await attacker(site)
    with closing(mallory.sock):
        challenge = await mallory.next()
        assert challenge.name == "challenge" and challenge.fields[:2] == (INSTALL, BOOT)
        assert await mallory.end() == "timeout"
    await host.until(lambda: host.closed_connections == [1])
    await host.server.drain(5)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000, b"SSH-2.0-x\r\n"])
@run
async def test_garbage_gets_an_alert_and_an_orderly_end(site: Site, data: bytes) -> None:
    host = DoorHost(site)
    with closing(await raw(site)) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, data)
        answer = await read_to_end(sock)
        assert len(answer) == 7 and answer[:1] == b"\x15" and answer[5] == 2
        sock.shutdown(socket.SHUT_WR)
    await host.server.drain(5)
    assert host.server.connections == 0 and not host.opens


def frame() -> bytes:
    return pack_frame(b"header", b"token", b"body" * 8, b"proof" * 4)


TOO_EARLY: dict[str, list[bytes]] = {
    "frame": [frame()],
    "unknown": [b"\x91\xa7nothing"],
    "server's": [encode_control("goodbye", "x")],
    "not msgpack": [b"\xc1\xc1"],
    "nested": [b"\x91" * 4000],
    "challenge": [encode_control("challenge", INSTALL, BOOT, b"c" * 32, 1)],
}


@pytest.mark.parametrize("payloads", TOO_EARLY.values(), ids=TOO_EARLY.keys())
@run
async def test_what_may_not_come_before_the_grant(site: Site, payloads: list[bytes]) -> None:
    host = DoorHost(site)
    mallory = await attacker(site)
    with closing(mallory.sock):
        await mallory.next()
        await mallory.send(*payloads)
        assert await mallory.end() == "rejected"
    await host.server.drain(5)
    assert (not host.opens and not host.received.is_set()) or host.closed_connections == [1]


@pytest.mark.parametrize("length", [0, message_stream.OPENING_MAX + 1, 0xFFFFFFFF])
@run
async def test_lengths_are_bounded_before_the_grant(site: Site, length: int) -> None:
    host = DoorHost(site)
    mallory = await attacker(site)
    with closing(mallory.sock):
        await mallory.next()
        await mallory.send_bytes(length.to_bytes(4, "big"))
        assert await mallory.end() == "rejected"
    await host.server.drain(5)
    assert host.server.counters["bad_length"] == 1


@run
async def test_one_open_per_connection(site: Site) -> None:
    host = DoorHost(site)
    mallory = await attacker(site)
    with closing(mallory.sock):
        payload = await mallory.granted()
        await mallory.send(payload)
        assert await mallory.end() == "rejected"
    assert host.server.counters["open_while_granted"] == 1
    assert host.numbers == 1
    await host.server.drain(5)


@run
async def test_an_open_while_the_first_is_under_way_is_refused(site: Site) -> None:
    host = DoorHost(site)
    host.open = lambda *fields: None  # type: ignore[method-assign] # the authority takes its time
    mallory = await attacker(site)
    with closing(mallory.sock):
        payload = await mallory.opened()
        await mallory.send(payload)
        assert await mallory.end() == "rejected"
    assert host.server.counters["open_while_opening"] == 1
    await host.server.drain(5)


@run
async def test_a_reader_that_does_not_read_is_cut_off(site: Site) -> None:
    host = DoorHost(site, DoorLimits(connection=ConnectionLimits(waiting_max=1 << 20)))
    mallory = await attacker(site)
    with closing(mallory.sock):
        await mallory.granted()
        large = pack_frame(b"", b"", bytes(200_000), b"")
        while host.server.connections and not host.closed_connections:
            host.door.send_frame(1, large)
            await asyncio.sleep(0)
    assert host.server.counters["slow_reader"] == 1
    await host.server.drain(5)


@run
async def test_the_worst_reader_pays_when_too_much_waits_for_all(site: Site) -> None:
    host = DoorHost(site, DoorLimits(waiting_total=1 << 20))
    idle, busy = await attacker(site), await attacker(site)
    with closing(idle.sock), closing(busy.sock):
        await idle.granted()
        await busy.granted()
        large = pack_frame(b"", b"", bytes(200_000), b"")
        while not host.closed_connections:
            host.door.send_frame(2, large)
            await asyncio.sleep(0)
        assert host.closed_connections == [2]
    await host.server.drain(5)


@run
async def test_idle_connections_end(site: Site) -> None:
    host = DoorHost(site, DoorLimits(idle_s=0.1))
    mallory = await attacker(site)
    with closing(mallory.sock):
        await mallory.granted()
        assert await mallory.end() == "idle"
    await host.server.drain(5)


@run
async def test_frames_of_one_turn_leave_in_one_write(site: Site) -> None:
    host = DoorHost(site)
    mallory = await attacker(site)
    with closing(mallory.sock):
        await mallory.granted()
        connection = host.door._clients[1].connection
        writes: list[int] = []
        write = connection.engine.write

        def count(data: bytes) -> None:
            writes.append(len(data))
            write(data)

        connection.engine.write = count  # type: ignore[method-assign]
        for _ in range(10):
            host.door.send_frame(1, frame())
        while len(mallory.payloads) < 10:
            await mallory.step()
        assert mallory.payloads == [frame()] * 10
        assert writes == [10 * (4 + len(frame()))]
    await host.server.drain(5)


@run
async def test_a_new_certificate_serves_the_next_and_disturbs_nobody(site: Site) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as before:
        old = site.server
        try:
            site.server = pki.issue_server(site.ca, INSTALL, "localhost", datetime.now(UTC))
            host.server.swap_context(site.context())
            mallory = await attacker(site)
            with closing(mallory.sock):
                await mallory.next()
                assert mallory.engine.certificate != host_certificate(old)
                assert mallory.engine.certificate == host_certificate(site.server)
            assert await before.call(STORE, "echo", 1) == [1]
            assert before.connections == 1
        finally:
            site.server = old
    await host.server.drain(5)


def host_certificate(issued: pki.Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.certificate_pem.decode())


@run
async def test_drain_says_goodbye_and_ends_everyone(site: Site) -> None:
    host = DoorHost(site)
    granted, silent = await attacker(site), await raw(site)
    with closing(granted.sock), closing(silent):
        await granted.granted()
        await until(lambda: host.server.connections == 2)
        draining = asyncio.ensure_future(host.server.drain(5))
        assert await granted.end() == "draining"
        assert await read_to_end(silent) == b""
        granted.sock.close()
        silent.close()
        await draining
    assert host.server.connections == 0


@run
async def test_drain_cuts_off_who_does_not_leave(site: Site) -> None:
    host = DoorHost(site)
    stubborn = await attacker(site)
    with closing(stubborn.sock):
        await stubborn.granted()
        await host.server.drain(0.05)
        await until(lambda: host.server.connections == 0)


@run
async def test_unknown_connections_are_ignored(site: Site) -> None:
    host = DoorHost(site)
    door, server = host.door, host.server
    door.challenged(7, b"c" * 32, INSTALL, BOOT, 1)
    door.granted(7, 1, b"x", b"s" * 64)
    door.refused(7, "rejected")
    door.send_frame(7, frame())
    door.close(7, "x")
    assert door.certificate_hash(7) == b""
    server.listen(site.listener.fileno())
    assert server.listeners == 1
    await server.drain(1)


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


@pytest.mark.parametrize("curve", [None, "prime256v1"])
@run
async def test_post_quantum_can_be_required(site: Site, curve: str | None) -> None:
    host = DoorHost(site, DoorLimits(groups=(X25519MLKEM768,)))
    context = client_context(site.bundle)
    if curve is not None:
        context.set_ecdh_curve(curve)
    engine = TlsEngine(context, server_side=False, protocols=PROTOCOLS, server_name="localhost")
    peer = Attacker(site, await raw(site), engine=engine)
    if curve is None:
        await peer.granted()
    else:
        while engine.state is State.HANDSHAKE:
            await peer.step()
        assert engine.failure == "tls_sslv3_alert_handshake_failure"
        assert host.server.counters["no_group"] == 1
    peer.sock.close()
    await host.server.drain(5)
