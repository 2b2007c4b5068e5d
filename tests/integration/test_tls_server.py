"""Any handler on the engine, chosen by ALPN: raw bytes here, beside another protocol on the same port."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from fakes.tls_service import PlainService
from hosts.door_host import Site, run

from tlsrt.channels.client.connection import client_context
from tlsrt.channels.tls.connection import ConnectionLimits, Handler, TlsConnection
from tlsrt.errors import PeerError
from tlsrt.loops.door import fair_pool
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.admission import AdmissionLimits
from tlsrt.loops.door.tls_server import ServerLimits, TlsServer

LENGTH = 300_000


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.listener.close()


class Echo:
    """Sends back what comes; raw bytes, no frames."""

    def __init__(self, connection: TlsConnection) -> None:
        self.connection = connection
        self.ends: list[str] = []

    def received_untrusted(self, data: bytes) -> None:
        if data.startswith(b"nonsense"):
            raise PeerError("nonsense")
        self.connection.write(data)

    def lost(self, reason: str) -> None:
        self.ends.append(reason)


class Greeting(Echo):
    """Speaks first."""

    def __init__(self, connection: TlsConnection) -> None:
        super().__init__(connection)
        connection.write(b"hello")


class Serving:
    """A server with both, on IPv4 and IPv6 at once."""

    def __init__(self, context: ssl.SSLContext, limits: ServerLimits | None = None, *, anonymous: bool = False) -> None:
        self.made: list[Echo] = []
        self.noted: list[str] = []
        self.server = TlsServer(
            context,
            PlainService(
                {"": self.make(Echo)} if anonymous else {"echo/1": self.make(Echo), "greet/1": self.make(Greeting)}
            ),
            limits, self, anonymous=anonymous,
        )  # fmt: skip
        self.listeners = [
            socket.create_server(("127.0.0.1", 0)),
            socket.create_server(("::1", 0), family=socket.AF_INET6),
        ]
        for listener in self.listeners:
            self.server.listen(listener.fileno())

    def on_refused(self, address: str, word: str) -> None:
        self.noted.append(word)

    def on_offence(self, key: str, connection: int, word: str) -> None:
        pass

    def on_over_places(self, client: str) -> None:
        self.noted.append("over_places")

    async def end(self) -> None:
        await self.server.drain(5)
        for listener in self.listeners:
            listener.close()

    def make(self, kind: type[Echo]) -> Callable[[AcceptedConnection], Handler]:
        def handler(client: AcceptedConnection) -> Handler:
            self.made.append(kind(client.connection))
            client.authenticate("client/admin")
            return self.made[-1]

        return handler


@asynccontextmanager
async def dialled(
    serving: Serving, context: ssl.SSLContext, number: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = serving.listeners[number].getsockname()[:2]
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
    yield reader, writer
    writer.close()


def speaking(site: Site, *names: str) -> ssl.SSLContext:
    context = client_context(site.bundle)
    context.set_alpn_protocols(list(names))
    return context


def context_of(site: Site, *names: str) -> ssl.SSLContext:
    context = site.context()
    context.set_alpn_protocols(list(names))
    return context


@pytest.mark.parametrize("number", [0, 1], ids=["IPv4", "IPv6"])
@run
async def test_raw_bytes_are_echoed(site: Site, number: int) -> None:
    serving = Serving(context_of(site, "echo/1", "greet/1"))
    data = os.urandom(LENGTH)
    async with dialled(serving, speaking(site, "echo/1"), number) as (reader, writer):
        writer.write(data)
        assert await reader.readexactly(LENGTH) == data
        assert serving.server.connections == 1 and serving.server.unauthenticated == 0
    while not serving.made[0].ends:
        await asyncio.sleep(0)
    await serving.end()
    assert serving.made[0].ends == ["closed_by_peer"] and serving.server.connections == 0 and not serving.noted


@run
async def test_the_name_that_was_agreed_on_decides(site: Site) -> None:
    serving = Serving(context_of(site, "greet/1", "echo/1"))
    async with dialled(serving, speaking(site, "h2", "greet/1")) as (reader, _):
        assert await reader.readexactly(5) == b"hello"
    assert type(serving.made[0]) is Greeting
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        async with dialled(serving, speaking(site, "h2")):
            raise AssertionError("a handshake without a protocol of ours")
    await serving.end()
    assert serving.noted == ["no_protocol"] and len(serving.made) == 1


@run
async def test_a_handler_that_refuses_ends_its_connection_and_no_other(site: Site) -> None:
    serving = Serving(context_of(site, "echo/1"))
    async with dialled(serving, speaking(site, "echo/1")) as (reader, writer):
        async with dialled(serving, speaking(site, "echo/1")) as (other, liar):
            liar.write(b"nonsense")
            assert await other.read() == b""
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
    await serving.end()
    assert serving.noted == ["nonsense"] and serving.made[1].ends == ["nonsense"]


@run
async def test_without_names_and_certificates_if_it_is_said(site: Site) -> None:
    """For those that ask for neither, as a scanner; and a context that asks for none does not make it so by itself."""
    plain = ssl.create_default_context(cadata=site.ca.certificate_pem.decode())
    context = context_of(site, "echo/1")
    context.verify_mode = ssl.CERT_NONE
    serving = Serving(context, anonymous=True)
    async with dialled(serving, plain) as (reader, writer):
        writer.write(b"anybody")
        assert await reader.readexactly(7) == b"anybody"
    await serving.end()
    strict = Serving(context)
    plain.set_alpn_protocols(["echo/1"])
    async with dialled(strict, plain) as (reader, writer):
        assert await reader.read() == b""
    await strict.end()
    assert strict.noted == ["no_certificate"] and not strict.made


@pytest.mark.parametrize(("limits", "word"), [({"idle_s": 0.1}, "idle"), ({"idle_s": 0.4, "lifetime_s": 0.2}, "ended")])
@run
async def test_nobody_stays_for_ever(site: Site, limits: dict[str, float], word: str) -> None:
    serving = Serving(context_of(site, "echo/1"), ServerLimits(**limits))  # type: ignore[arg-type]
    async with dialled(serving, speaking(site, "echo/1")) as (reader, writer):

        async def talk() -> None:
            while word == "ended":
                writer.write(b"x")
                await asyncio.sleep(0.02)

        talking = asyncio.ensure_future(talk())
        assert not (await reader.read()).strip(b"x")  # to the end: a close_notify, no cut
        talking.cancel()
    await serving.end()
    assert serving.made[0].ends == [word] and not serving.noted


@run
async def test_bounds_hold_for_any_handler(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_pool, "LATE_S", 0.0)
    limits = ServerLimits(AdmissionLimits(per_address=2), ConnectionLimits(handshake_s=0.1))
    serving = Serving(context_of(site, "echo/1"), limits)
    socks = [socket.create_connection(serving.listeners[0].getsockname()) for _ in range(3)]
    loop = asyncio.get_running_loop()
    for sock in socks:
        sock.setblocking(False)
    for sock in socks:
        assert await loop.sock_recv(sock, 1) == b""
        sock.close()
    await serving.end()
    assert sorted(serving.noted) == ["crowded_out", "handshake_timeout", "handshake_timeout"]
