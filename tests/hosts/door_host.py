"""A door on a real socket with real TLS, and behind it a host that plays authority, gate and one component."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsrt.channels.calls.flow_control import WINDOW
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames import frame as framing
from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session import grant
from tlsrt.channels.session.grant import GrantContent, Right
from tlsrt.config import key_schedule, pki
from tlsrt.config.bundle import Bundle
from tlsrt.loops.door.door import Door, DoorLimits
from tlsrt.loops.door.tls_contexts import server_context
from tlsrt.loops.door.tls_server import TlsServer

INSTALL, BOOT = b"i" * 16, b"b" * 16
STORE = "secondary/store"


def _method(*parameters: tuple[str, str, dict[str, Any], bool], **more: object) -> dict[str, object]:
    listed = [
        {"name": name, "type": kind, "schema": schema, "required": required}
        for name, kind, schema, required in parameters
    ]
    return {"doc": "What it does.", "parameters": listed, "returns": {"type": "any", "schema": {}}, **more}


_KEY = ("key", "str", {"type": "string"}, True)
DESCRIPTION = {
    "address": STORE,
    "doc": "Keeps values.\n\nMore about it.",
    "methods": {
        "get": _method(_KEY, idempotent=True),
        "put": _method(_KEY, ("value", "any", {}, True), ("ttl_s", "float", {"type": "number"}, False)),
        "echo": _method(("value", "any", {}, False)),
        "count": _method(("number", "int", {"type": "integer"}, True), stream=True),
        "hang": _method(),
        "blob": _method(("size", "int", {"type": "integer"}, True)),
        "save": _method(_KEY, upload=True),
        "secret": _method(),
    },
}
GRANTED = ("get", "put", "echo", "count", "hang", "blob", "save")


def memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    return descriptor


class Site:
    """The lasting part of a host: its CA, certificates, issuer, and listening socket."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self.ca = pki.make_ca(INSTALL, now)
        self.server = pki.issue_server(self.ca, INSTALL, "localhost", now)
        client = pki.issue_client(self.ca, INSTALL, "admin", now)
        self.issuer = Ed25519PrivateKey.generate()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.bundle = Bundle(
            1, INSTALL, "admin", "127.0.0.1", self.listener.getsockname()[1], "localhost", self.ca.certificate_pem,
            client.certificate_pem, client.key_pem,
            self.issuer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
        )  # fmt: skip

    def context(self) -> ssl.SSLContext:
        descriptors = [
            memory_file(data) for data in (self.server.certificate_pem, self.server.key_pem, self.ca.certificate_pem)
        ]
        certificate, key, ca = descriptors
        try:
            return server_context(certificate, key, ca)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


class DoorHost:
    """A door's backend: grants sessions with real cryptography and answers calls to one component."""

    def __init__(self, site: Site, limits: DoorLimits | None = None) -> None:
        self.site = site
        batch, limits = WriteBatch(), limits or DoorLimits()
        self.door = Door(self, limits, batch)
        self.server = TlsServer(site.context(), self.door, limits, self, batch)
        self.mailbox_root = os.urandom(32)
        self.session_id = os.urandom(16)  # of the component
        self.sequence = 0
        self.opens: dict[int, bytes] = {}
        self.over_places: list[str] = []  # clients
        self.openings: dict[int, grant.Open] = {}
        self.sessions: dict[int, bytes] = {}
        self.numbers = 0
        self.refusal = ""
        self.closed_connections: list[int] = []
        self.seen: list[tuple[str, list[Any], str | None]] = []
        self.streams: dict[bytes, tuple[int, Header, AESGCM, Iterator[int], int]] = {}
        self.received = asyncio.Event()
        self.on_request = threading.Event()
        self.change: Callable[[GrantContent], GrantContent] = lambda content: content
        self.server.listen(site.listener.fileno())

    # the backend

    def on_client(self, connection: int, address: str, certificate: bytes) -> None:
        """Note nothing."""

    def ask(self, name: str, connection: int, *fields: Any) -> None:
        if name == "challenge":
            self.door.challenged(connection, os.urandom(32), INSTALL, BOOT, boottime_ms())
        elif name == "open":
            self.open(connection, *fields)
        elif name == "lock":
            self.door.refused(connection, "rejected")
        elif name == "renew":
            self.door.renewed(connection, b"", b"")

    def open(self, connection: int, open_data: bytes, signature: bytes) -> None:
        wish = grant.parse_open_untrusted(open_data)
        grant.verify_open(wish, open_data, signature)
        assert self.door.certificate_hash(connection) == hashlib.sha256(wish.certificate).digest()
        if self.refusal:
            self.door.refused(connection, self.refusal)
            return
        self.openings[connection], self.opens[connection] = wish, grant.open_digest(open_data)
        self.sessions[connection] = os.urandom(16)
        self.push(connection)

    def on_http_request(self, connection: int, target: str, authorization: str, *, is_foreign: bool) -> None:
        raise AssertionError("it serves no HTTP")

    def on_refused(self, address: str, word: str) -> None:
        pass

    def on_offence(self, key: str, connection: int, word: str) -> None:
        pass

    def on_over_places(self, client: str) -> None:
        self.over_places.append(client)

    def push(self, connection: int, **changes: Any) -> None:
        session = self.sessions[connection]
        now = boottime_ms()
        content = GrantContent(
            now, INSTALL, BOOT, 1, 5_000, session, "client/admin", b"opaque", now + 300_000, now + 3_600_000, 1,
            b"p" * 32,
            (Right(STORE, 1, key_schedule.request_key(self.mailbox_root, session), GRANTED),),
        )  # fmt: skip
        content = dataclasses.replace(self.change(content), **changes)
        self.numbers += 1
        sealed = grant.seal_grant(
            grant.encode_grant(content), self.opens[connection], self.openings[connection].ephemeral_public,
            self.numbers, self.site.issuer.sign,
        )  # fmt: skip
        self.door.granted(connection, self.numbers, *sealed, content.session, content.subject)

    def frame(self, connection: int, frame: bytes) -> str:
        parts = framing.parse_frame_untrusted(frame)
        header = framing.parse_header_untrusted(parts.header)
        key = key_schedule.request_key(self.mailbox_root, header.session)
        body = AESGCM(key).decrypt(framing.nonce(header.seq), parts.body, parts.header)
        if header.kind == FrameKind.REQUEST:
            self.answer(connection, header, AESGCM(key_schedule.reply_key(key, self.session_id)), msgpack.unpackb(body))
        elif header.kind == FrameKind.CREDIT and header.correlation in self.streams:
            self.go_on(header.correlation, msgpack.unpackb(body))
        self.received.set()
        return ""

    def on_closed(self, connection: int) -> None:
        self.closed_connections.append(connection)
        self.received.set()

    # the component

    def answer(self, connection: int, header: Header, key: AESGCM, request: list[Any]) -> None:
        args = request[0]
        self.seen.append((header.method, args, request[2]))
        self.on_request.set()
        if header.method == "hang":
            return
        if header.method == "count":
            name = framing.correlation(header.session, header.seq)
            self.streams[name] = (connection, header, key, iter(range(args[0])), args[0])
            self.go_on(name, WINDOW)
        elif header.method == "blob":
            self.reply(connection, header, key, FrameKind.REPLY, bytes(range(256)) * args[0])
        elif header.method == "describe":
            self.reply(connection, header, key, FrameKind.REPLY, DESCRIPTION)
        elif header.method == "get":
            self.reply(connection, header, key, FrameKind.ERROR, ["not_found", f"no key {args[0]}"])
        else:
            self.reply(connection, header, key, FrameKind.REPLY, args)

    def go_on(self, name: bytes, credit: int) -> None:
        """Send as many items of a stream as the client allows."""
        connection, header, key, numbers, total = self.streams[name]
        for number in islice(numbers, credit):
            self.reply(connection, header, key, FrameKind.ITEM, number, part=number)
            if number == total - 1:
                self.reply(connection, header, key, FrameKind.ITEM, None, part=total, flags=framing.FLAG_FINAL)
                del self.streams[name]

    def reply(
        self,
        connection: int,
        header: Header,
        key: AESGCM,
        kind: FrameKind,
        value: object,
        part: int = 0,
        flags: int = 0,
    ) -> None:
        self.sequence += 1
        answer = framing.pack_header(
            Header(
                1, kind, self.session_id, self.sequence, part, STORE, header.src, 1, 1, header.method, header.epoch,
                boottime_ms() + 30_000, framing.correlation(header.session, header.seq), flags,
            )
        )  # fmt: skip
        body = b"" if flags else msgpack.packb(value)
        sealed = key.encrypt(framing.nonce(self.sequence), body, answer)
        self.door.send_frame(connection, framing.pack_frame(answer, b"token", sealed, b"p" * 16))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.received.clear()
                await self.received.wait()


def run(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop, within 30 s."""

    @functools.wraps(test)
    def runner(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return runner


@contextmanager
def in_a_thread(site: Site) -> Iterator[DoorHost]:
    """A fake host on an event loop in another thread, for clients that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def make() -> DoorHost:
        return DoorHost(site)

    host = asyncio.run_coroutine_threadsafe(make(), loop).result(10)
    try:
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(host.server.drain(5), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
