"""The door on real sockets: admission, deadlines, alerts, what a client may say when, back-pressure, reload, drain."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from attackers.door_client import Attacker, attacker, raw, read_to_end, until
from hosts.door_host import BOOT, INSTALL, STORE, DoorHost, Site, run

from tlsrt import AsyncClient
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.frames.frame import pack_frame
from tlsrt.channels.tls import message_stream
from tlsrt.channels.tls.client_hello import X25519MLKEM768
from tlsrt.channels.tls.connection import ConnectionLimits
from tlsrt.channels.tls.engine import State, TlsEngine
from tlsrt.channels.tls.message_stream import encode_control
from tlsrt.config import pki
from tlsrt.loops.door.door import DoorLimits
from tlsrt.loops.door.tls_contexts import PROTOCOLS


@pytest.fixture(scope="module")
def lasting_site() -> Any:
    site = Site()
    yield site
    site.listener.close()


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return lasting_site


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
