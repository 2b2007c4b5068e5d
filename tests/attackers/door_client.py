"""A client of a door on a real socket that may say anything, and when it likes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from hosts.door_host import Site

from tlsrt.channels.client.connection import client_context
from tlsrt.channels.session.opening import Opening, identity_of
from tlsrt.channels.tls import message_stream
from tlsrt.channels.tls.engine import State, TlsEngine
from tlsrt.channels.tls.message_stream import Control, StreamReader, encode_control
from tlsrt.loops.door.tls_contexts import PROTOCOLS


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
