"""TLS servers in Python: `tls_servers.py engine|asyncio|uvloop CERTIFICATE KEY PORT [MUTUAL_PORT CLIENT_CA]`.

All answer the frames of c/tls_floor.c. `engine` is ours: the door's own `TlsServer`, with a plain handler in place of
sessions; asyncio and uvloop are protocols on their own TLS transports. With MUTUAL_PORT there is a
second door at which clients must show a certificate.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import sys
from typing import NoReturn, cast

from tlsrt.channels.tls.connection import ConnectionLimits, TlsConnection
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.admission import AdmissionLimits
from tlsrt.loops.door.tls_server import ServerLimits, TlsServer

PROTOCOL = "tlsrt/1"
BODY_MAX = 65536
BACKLOG = 1024
_answers: dict[int, bytes] = {}


def answer(size: int) -> bytes:
    """Return the answer with a body of so many bytes."""
    if size not in _answers:
        if size > BODY_MAX:
            raise ValueError("too large")
        _answers[size] = size.to_bytes(4, "big") + bytes(size)
    return _answers[size]


class Answering:
    """Splits what comes into requests, and writes the answers of one read together."""

    def __init__(self) -> None:
        self._held = b""

    def answers(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
        at, end = 0, len(data)
        pieces: list[bytes] = []
        while end - at >= 8:
            after = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if after > end:
                break
            pieces.append(answer(int.from_bytes(data[at + 4 : at + 8], "big")))
            at = after
        self._held = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class EngineHandler(Answering):
    """The plain handler on our engine."""

    def __init__(self, connection: TlsConnection) -> None:
        super().__init__()
        self._connection = connection

    def received_untrusted(self, data: bytes) -> None:
        out = self.answers(data)
        if out:
            self._connection.write(out)

    def lost(self, reason: str) -> None:
        pass


class EngineService:
    """The plain handler for every client, each on an account of its own, since no peer has accounts."""

    protocols = (PROTOCOL,)

    def on_connected(self, client: AcceptedConnection, protocol: str) -> EngineHandler:
        client.authenticate(f"client {client.number}")
        return EngineHandler(client.connection)

    def on_lost(self, client: AcceptedConnection) -> None:
        pass

    def may_be_silent(self, client: AcceptedConnection) -> bool:
        return True

    def dismiss(self, client: AcceptedConnection, word: str) -> None:
        client.connection.close(word)


def serve_on_engine(context: ssl.SSLContext, port: int, *, mutual: bool) -> None:
    """Serve on the door's own server, without its bounds for those that are unknown: here all are."""
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    most = 1 << 20
    limits = ServerLimits(
        AdmissionLimits(most, most, most, rate=1e9, burst=1e9, per_client=most),
        ConnectionLimits(handshake_s=60.0, hello_s=60.0),
        idle_s=1e9,
    )
    server = TlsServer(context, EngineService(), limits, anonymous=not mutual)
    server.listen(listener.detach())


class Transported(asyncio.Protocol):
    """The same on a TLS transport of asyncio or uvloop."""

    def __init__(self) -> None:
        self._answering = Answering()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no child of asyncio's

    def data_received(self, data: bytes) -> None:
        out = self._answering.answers(data)
        if out:
            self._transport.write(out)


def make_context(certificate: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    """The door's own settings (loops/door/tls_contexts.py), from files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.num_tickets = 0
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


async def serve(kind: str, certificate: str, key: str, doors: list[tuple[int, str | None]]) -> NoReturn:
    loop = asyncio.get_running_loop()
    for port, client_ca in doors:
        context = make_context(certificate, key, client_ca)
        if kind == "engine":
            context.set_alpn_protocols([PROTOCOL])
            serve_on_engine(context, port, mutual=client_ca is not None)
        else:
            await loop.create_server(Transported, "127.0.0.1", port, ssl=context, backlog=BACKLOG)
    while True:
        await asyncio.Event().wait()


def main(kind: str, certificate: str, key: str, port: str, mutual_port: str = "", client_ca: str = "") -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    doors: list[tuple[int, str | None]] = [(int(port), None)]
    if mutual_port:
        doors.append((int(mutual_port), client_ca))
    coroutine = serve(kind, certificate, key, doors)
    if kind == "uvloop":
        import uvloop

        uvloop.run(coroutine)
    else:
        asyncio.run(coroutine)


if __name__ == "__main__":
    main(*sys.argv[1:])
