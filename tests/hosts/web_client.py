"""A browser as the door sees it: HTTP and WebSocket over TLS without a certificate. RFC 6455, the client's side."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import ssl
import struct
from contextlib import suppress
from typing import Any, Self

from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.enrolment import (
    EnrolmentAnswer,
    JoinCode,
    check_answer_untrusted,
    encode_message,
    parse_answering_untrusted,
    request_mac,
)
from tlsrt.channels.session.opening import Opening, identity_of
from tlsrt.channels.tls.message_stream import encode_control, is_frame, parse_control_untrusted
from tlsrt.config import pki
from tlsrt.config.bundle import VERSION, Bundle
from tlsrt.errors import PeerError

BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10
HANDSHAKE_S = 10.0


def browser_context(ca: bytes, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """Return what a browser that trusts this CA (PEM) speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca.decode("ascii"))
    context.set_alpn_protocols(list(protocols))
    return context


def masked(opcode: int, data: bytes, *, fin: bool = True, mask: bytes | None = None, reserved: int = 0) -> bytes:
    """Return a frame of a client (RFC 6455, 5.2); an empty mask leaves it out."""
    key = b"mask" if mask is None else mask  # any will do: who sees it sees the data
    bit = 0x80 if key else 0
    size = len(data)
    head = bytes([(0x80 if fin else 0) | reserved | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    hidden = bytes(byte ^ key[at % 4] for at, byte in enumerate(data)) if key else data
    return head + key + hidden


class WebPeer:
    """One TLS connection of a browser. `async with WebPeer(...) as peer`."""

    def __init__(
        self, ca: bytes, port: int, *, host: str = "127.0.0.1", protocols: tuple[str, ...] = ("http/1.1",),
        source: str = "",
    ) -> None:  # fmt: skip
        """`source` is the address that it comes from, any of loopback."""
        self._context = browser_context(ca, protocols)
        self.authority = f"{host}:{port}"
        self._place = ("127.0.0.1", port)
        self._host = host
        self._source = (source, 0) if source else None
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        opening = asyncio.ensure_future(
            asyncio.open_connection(
                *self._place, ssl=self._context, server_hostname=self._host, limit=1 << 20, local_addr=self._source,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
        )  # fmt: skip
        try:
            self.reader, self.writer = await asyncio.shield(opening)
        except asyncio.CancelledError:  # asyncio leaves a transport open that is cancelled in its handshake
            with suppress(OSError):
                (await opening)[1].transport.abort()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    # -- HTTP --------------------------------------------------------------------------------------------------

    async def ask(self, path: str, method: str = "GET", **fields: str) -> tuple[int, dict[str, str], bytes]:
        """Ask for a path; `_` in names of fields is `-`, and an empty value leaves one out."""
        lines = {"host": self.authority, **{name.replace("_", "-"): value for name, value in fields.items()}}
        head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items() if value)]
        return await self.send_head("\r\n".join(head).encode("latin-1") + b"\r\n\r\n", is_head=method == "HEAD")

    async def send_head(self, head: bytes, *, is_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Send these bytes, and read one answer."""
        self.writer.write(head)
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = 0 if is_head else int(fields.get("content-length", "0"))
        return int(first.split(" ")[1]), fields, await self.reader.readexactly(size)

    async def upgrade(self, protocol: str = "tlsrt.1", **fields: str) -> int:
        """Ask for a WebSocket; return the status."""
        key = base64.b64encode(os.urandom(16)).decode()
        status, got, _ = await self.ask("/tlsrt", **{
            "upgrade": "websocket", "connection": "Upgrade", "sec_websocket_key": key, "sec_websocket_version": "13",
            "sec_websocket_protocol": protocol, "origin": f"https://{self.authority}", **fields,
        })  # fmt: skip
        if status == 101:
            accept = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            assert got["sec-websocket-accept"] == base64.b64encode(accept).decode()
            assert got["sec-websocket-protocol"] == protocol
        return status

    # -- WebSocket ---------------------------------------------------------------------------------------------

    def send(self, data: bytes, opcode: int = BINARY, **more: Any) -> None:
        self.writer.write(masked(opcode, data, **more))

    async def read_frame(self) -> tuple[int, bytes]:
        """Return (opcode, content) of the next frame of the server. Raises IncompleteReadError at the end."""
        first, second = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80 and not second & 0x80
        size = second
        if second == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif second == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def read_message(self) -> bytes:
        opcode, data = await self.read_frame()
        assert opcode == BINARY, (opcode, data)
        return data

    async def read_control(self) -> tuple[str, tuple[Any, ...]]:
        message = parse_control_untrusted(await self.read_message(), "server")
        return message.name, message.fields

    async def read_end(self) -> list[tuple[int, bytes]]:
        """Return all frames to the end of the connection."""
        frames = []
        try:
            while True:
                frames.append(await self.read_frame())
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return frames


async def enrol(peer: WebPeer, code: JoinCode) -> Bundle | None:
    """Enrol over a WebSocket as the page does; None if that is refused."""
    assert await peer.upgrade("tlsrt-enrol.1") == 101
    name, _ = parse_answering_untrusted(await peer.read_message())
    assert name == "authorities"
    request, key = pki.make_request()
    peer.send(encode_message("enrol", code.code_id, request, request_mac(code.code_id, code.secret, request)))
    name, fields = parse_answering_untrusted(await peer.read_message())
    if name != "enrolled":
        return None
    answer: EnrolmentAnswer = check_answer_untrusted(code, request, *fields)
    host, port = peer.authority.rsplit(":", 1)
    return Bundle(
        VERSION, answer.install, answer.name, host, int(port), host, pki.pem_of(answer.ca),
        pki.pem_of(answer.certificate), key, answer.issuer, answer.issuer_version,
    )  # fmt: skip


class WebSession:
    """A session of a client over a WebSocket."""

    def __init__(self, peer: WebPeer, bundle: Bundle) -> None:
        self.peer = peer
        self.opening = Opening(identity_of(bundle))
        self.endpoint = Endpoint("")
        self.caller = Caller(self.endpoint, peer.send, boottime_ms)
        self.end: list[Any] = []  # the last messages of the host
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> str:
        """Open it; return the name of the answer."""
        name, fields = await self.peer.read_control()
        assert name == "challenge", name
        self.peer.send(encode_control("open", *self.opening.answer_untrusted(*fields[:3])))
        while True:
            name, fields = await self.peer.read_control()
            if name != "succession":
                break
        if name == "granted":
            self.endpoint.apply_grant(self.opening.accept_untrusted(*fields), boottime_ms())
            self.caller.set_up(True)
            self._reading = asyncio.create_task(self._read())
        else:
            self.end = [name, *fields]
        return name

    async def closed(self) -> list[Any]:
        """Wait until the host ends the session; return its last words."""
        assert self._reading is not None
        await self._reading
        return self.end

    async def _read(self) -> None:
        try:
            while True:
                opcode, data = await self.peer.read_frame()
                if opcode != BINARY:
                    self.end.append((opcode, data))
                elif is_frame(data):
                    with suppress(PeerError):  # such as the refusal of a frame that was another session's
                        self.caller.pending.on_frame_untrusted(data)
                else:
                    name, fields = parse_control_untrusted(data, "server")
                    if name == "granted":
                        self.endpoint.apply_grant(self.opening.accept_untrusted(*fields), boottime_ms())
                    elif name != "succession":
                        self.end.append((name, *fields))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            self.caller.set_up(False)
