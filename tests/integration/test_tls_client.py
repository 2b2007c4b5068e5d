"""Client and door over real sockets and real TLS; a fake host behind the door plays authority, gate and component."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsrt import (
    AsyncClient,
    Client,
    ConfigError,
    Denied,
    NotFound,
    OutcomeUnknown,
    Rejected,
    ServerLocked,
    Unavailable,
)
from tlsrt.channels import frame as framing
from tlsrt.channels import grant
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frame import Header, Kind
from tlsrt.channels.grant import GrantContent, Right
from tlsrt.config import keys, pki
from tlsrt.config.bundle import Bundle
from tlsrt.errors import CallError, InvalidArgument
from tlsrt.loops.door import Door, DoorLimits
from tlsrt.loops.tls_engine import server_context

INSTALL, BOOT = b"i" * 16, b"b" * 16
STORE = "secondary/store"
DESCRIPTION = {"address": STORE, "doc": "", "methods": {"get": {}, "put": {}, "secret": {}}}


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

    def context(self) -> Any:
        descriptors = [
            memory_file(data) for data in (self.server.certificate_pem, self.server.key_pem, self.ca.certificate_pem)
        ]
        certificate, key, ca = descriptors
        try:
            return server_context(certificate, key, ca)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


class FakeHost:
    """A Hub: grants sessions with real cryptography and answers calls to one component."""

    def __init__(self, site: Site, limits: DoorLimits | None = None) -> None:
        self.site = site
        self.door = Door(self, site.context(), limits)
        self.mailbox_root = os.urandom(32)
        self.session_id = os.urandom(16)  # of the component
        self.sequence = 0
        self.opens: dict[int, bytes] = {}
        self.openings: dict[int, grant.Open] = {}
        self.sessions: dict[int, bytes] = {}
        self.numbers = 0
        self.refusal = ""
        self.closed_connections: list[int] = []
        self.seen: list[tuple[str, list[Any], str | None]] = []
        self.received = asyncio.Event()
        self.change: Callable[[GrantContent], GrantContent] = lambda content: content
        self.door.listen(site.listener.fileno())

    # the Hub

    def challenge(self, connection: int) -> None:
        self.door.challenged(connection, os.urandom(32), INSTALL, BOOT, boottime_ms())

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

    def push(self, connection: int, **changes: Any) -> None:
        session = self.sessions[connection]
        now = boottime_ms()
        content = GrantContent(
            now, INSTALL, BOOT, 1, 0, session, "client/admin", b"opaque", now + 300_000, now + 3_600_000, 1, b"p" * 32,
            (Right(STORE, 1, keys.request_key(self.mailbox_root, session), ("get", "put", "echo", "count", "hang")),),
        )  # fmt: skip
        content = dataclasses.replace(self.change(content), **changes)
        self.numbers += 1
        sealed = grant.seal_grant(
            grant.encode_grant(content), self.opens[connection], self.openings[connection].ephemeral_public,
            self.numbers, self.site.issuer.sign,
        )  # fmt: skip
        self.door.granted(connection, self.numbers, *sealed, content.session, content.subject)

    def frame(self, connection: int, frame: bytes) -> None:
        parts = framing.parse_frame_untrusted(frame)
        header = framing.parse_header_untrusted(parts.header)
        key = keys.request_key(self.mailbox_root, header.session)
        body = AESGCM(key).decrypt(framing.nonce(header.seq), parts.body, parts.header)
        if header.kind == Kind.REQUEST:
            self.answer(connection, header, AESGCM(keys.reply_key(key, self.session_id)), msgpack.unpackb(body))
        self.received.set()

    def closed(self, connection: int) -> None:
        self.closed_connections.append(connection)
        self.received.set()

    # the component

    def answer(self, connection: int, header: Header, key: AESGCM, request: list[Any]) -> None:
        args = request[0]
        self.seen.append((header.method, args, request[2]))
        if header.method == "hang":
            return
        if header.method == "count":
            for number in range(args[0]):
                self.reply(connection, header, key, Kind.ITEM, number, part=number)
            self.reply(connection, header, key, Kind.ITEM, None, part=args[0], flags=framing.FLAG_FINAL)
        elif header.method == "describe":
            self.reply(connection, header, key, Kind.REPLY, DESCRIPTION)
        elif header.method == "get":
            self.reply(connection, header, key, Kind.ERROR, ["not_found", f"no key {args[0]}"])
        else:
            self.reply(connection, header, key, Kind.REPLY, args)

    def reply(
        self, connection: int, header: Header, key: AESGCM, kind: Kind, value: object, part: int = 0, flags: int = 0
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


@pytest.fixture(scope="module")
def lasting_site() -> Any:
    site = Site()
    yield site
    site.listener.close()


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return lasting_site


@run
async def test_call_error_and_denied(site: Site) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        assert client.subject == "client/admin"
        assert client.rights == {STORE: ("get", "put", "echo", "count", "hang")}
        assert await client.call(STORE, "echo", 1, b"two", [3]) == [1, b"two", [3]]
        with pytest.raises(NotFound, match="no key x"):
            await client.call(STORE, "get", "x")
        with pytest.raises(Denied, match="third/io"):
            await client.call("third/io", "read")
        with pytest.raises(InvalidArgument):
            await client.call(STORE, "echo", timeout_s=301)
        assert (host.door.connections, host.door.unauthenticated) == (1, 0)
    await host.door.drain(5)
    assert host.door.connections == 0


@run
async def test_many_calls_at_once_and_streams(site: Site) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        answers = await asyncio.gather(*(client.call(STORE, "echo", number) for number in range(200)))
        assert answers == [[number] for number in range(200)]
        assert [item async for item in client.stream(STORE, "count", 25)] == list(range(25))
        description = await client.describe()
        assert description == {STORE: {**DESCRIPTION, "methods": {"get": {}, "put": {}}}}
    await host.door.drain(5)


@run
async def test_pushed_grants_are_applied(site: Site) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        await client.call(STORE, "echo")
        key = keys.request_key(host.mailbox_root, host.sessions[1])
        host.push(1, rights=(Right(STORE, 1, key, ("echo",)), Right("third/io", 1, b"k" * 32, ("read",))))
        await client.call(STORE, "echo")  # its answer comes after the push
        assert client.rights == {STORE: ("echo",), "third/io": ("read",)}
        host.push(1, rights=(Right(STORE, 1, key, ("echo",)),), epoch=2)
        await client.call(STORE, "echo")
        assert client.rights == {STORE: ("echo",)} and client.session_info["epoch"] == 2
        with pytest.raises(Denied, match="third/io"):
            await client.call("third/io", "read")
        assert client.connections == 1
    await host.door.drain(5)


@pytest.mark.parametrize(
    "change",
    [{"boot": b"x" * 16}, {"install": b"x" * 16}, {"session": b"x" * 16}, {"subject": "client/other"}],
    ids=lambda change: next(iter(change)),
)
@run
async def test_a_push_that_does_not_fit_ends_the_connection(site: Site, change: dict[str, Any]) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        host.push(1, **change)
        await host.until(lambda: host.closed_connections == [1])
        assert await client.call(STORE, "echo", 1) == [1]
        assert client.connections == 2
    await host.door.drain(5)


@run
async def test_a_replayed_push_ends_the_connection(site: Site) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        host.numbers -= 1
        host.push(1)
        await host.until(lambda: host.closed_connections == [1])
        assert await client.call(STORE, "echo", 1) == [1]
    await host.door.drain(5)


@run
async def test_reconnect_after_the_server_closes(site: Site) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        hanging = asyncio.ensure_future(client.call(STORE, "hang"))
        repeated = asyncio.ensure_future(client.call(STORE, "hang", "again", idempotent=True))
        await host.until(lambda: len(host.seen) == 2)
        host.door.close(1, "rejected")
        with pytest.raises(OutcomeUnknown):
            await hanging
        assert await client.call(STORE, "echo", "back") == ["back"]
        await host.until(lambda: len(host.seen) >= 4)
        tries = [key for method, args, key in host.seen if args == ["again"]]
        assert len(tries) == 2 and tries[0] == tries[1] and tries[0]
        assert not repeated.done()
        repeated.cancel()
        assert client.connections == 2
    await host.door.drain(5)


@run
async def test_calls_wait_while_the_server_is_down(site: Site) -> None:
    first = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        await first.door.drain(5)
        with pytest.raises(Unavailable, match="not sent"):
            await client.call(STORE, "echo", timeout_s=0.05)
        waiting = asyncio.ensure_future(client.call(STORE, "echo", 7))
        second = FakeHost(site)
        assert await waiting == [7]
        assert second.seen == [("echo", [7], None)]
    await second.door.drain(5)


@run
async def test_an_idle_client_comes_back_when_it_is_needed(site: Site) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        host.door.close(1, "idle")
        await until_down(client)
        assert await client.call(STORE, "echo", 7) == [7]
        assert client.connections == 2
    await host.door.drain(5)


@pytest.mark.parametrize(
    ("word", "kind"), [("rejected", Rejected), ("locked", ServerLocked), ("timeout", Unavailable), ("other", CallError)]
)
@run
async def test_refused_sessions(site: Site, word: str, kind: type[CallError]) -> None:
    host = FakeHost(site)
    host.refusal = word
    with pytest.raises(kind):
        async with AsyncClient(site.bundle):
            pytest.fail("there is no session")
    await host.door.drain(5)


@run
async def test_waiting_calls_learn_of_a_lock(site: Site) -> None:
    host = FakeHost(site)
    async with AsyncClient(site.bundle) as client:
        host.refusal = "locked"
        host.door.close(1, "locked")
        await until_down(client)
        with pytest.raises(ServerLocked):
            await client.call(STORE, "echo")
        host.refusal = ""
        assert await wait_for_echo(client) == ["now"]
    await host.door.drain(5)


async def until_down(client: AsyncClient) -> None:
    while client.connected:
        await asyncio.sleep(0)


async def wait_for_echo(client: AsyncClient) -> Any:
    async with asyncio.timeout(20):
        while True:
            try:
                return await client.call(STORE, "echo", "now")
            except ServerLocked:
                await asyncio.sleep(0)


@run
async def test_server_of_another_ca_is_refused(site: Site) -> None:
    host = FakeHost(site)
    stranger = pki.make_ca(INSTALL, datetime.now(UTC))
    bundle = dataclasses.replace(site.bundle, ca_pem=stranger.certificate_pem)
    with pytest.raises(ConfigError, match="cannot prove that it is the one in the bundle"):
        await AsyncClient(bundle).__aenter__()
    bundle = dataclasses.replace(site.bundle, server_name="elsewhere.example")
    with pytest.raises(ConfigError, match="cannot prove that it is the one in the bundle"):
        await AsyncClient(bundle).__aenter__()
    await host.door.drain(5)
    assert not host.opens


@run
async def test_client_of_another_ca_is_refused(site: Site) -> None:
    host = FakeHost(site)
    stranger = pki.issue_client(pki.make_ca(INSTALL, datetime.now(UTC)), INSTALL, "admin", datetime.now(UTC))
    bundle = dataclasses.replace(site.bundle, certificate_pem=stranger.certificate_pem, key_pem=stranger.key_pem)
    with pytest.raises(Rejected, match="does not accept this bundle's certificate"):
        await AsyncClient(bundle).__aenter__()
    await host.door.drain(5)
    assert not host.opens


@run
async def test_bundle_of_another_install_or_issuer_is_refused(site: Site) -> None:
    host = FakeHost(site)
    with pytest.raises(ConfigError, match="another installation"):
        await AsyncClient(dataclasses.replace(site.bundle, install_id=b"x" * 16)).__aenter__()
    assert not host.opens
    with pytest.raises(ConfigError, match="not signed by the issuer"):
        await AsyncClient(dataclasses.replace(site.bundle, issuer_public=b"x" * 32)).__aenter__()
    await host.door.drain(5)


@run
async def test_nobody_there_and_nobody_answers(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable, match="no answer from"):
            await AsyncClient(site.bundle, f"127.0.0.1:{port}", connect_timeout_s=0.1).__aenter__()
    with pytest.raises(Unavailable, match="cannot reach"):
        await AsyncClient(site.bundle, f"127.0.0.1:{port}").__aenter__()


@run
async def test_forged_and_replayed_answers_mean_nothing(site: Site) -> None:
    host = FakeHost(site)
    sent: list[bytes] = []
    send = host.door.send_frame

    def twice_and_forged(connection: int, frame: bytes) -> None:
        changed = bytearray(frame)
        changed[-25] ^= 1  # in the body's tag
        send(connection, bytes(changed))
        send(connection, frame)
        send(connection, frame)
        sent.append(frame)

    host.door.send_frame = twice_and_forged  # type: ignore[method-assign]
    async with AsyncClient(site.bundle) as client:
        assert await client.call(STORE, "echo", 1) == [1]
        assert await client.call(STORE, "echo", 2) == [2]
        assert client.refused["body_forged"] >= 1 and client.refused["replay"] >= 1
        assert client.connections == 1
    await host.door.drain(5)


@run
async def test_upload_parts_reach_the_host(site: Site) -> None:
    host = FakeHost(site)
    parts = 0
    original = host.frame

    def count(connection: int, frame: bytes) -> None:
        nonlocal parts
        header = framing.parse_header_untrusted(framing.parse_frame_untrusted(frame).header)
        parts += header.kind == Kind.PART
        original(connection, frame)

    host.frame = count  # type: ignore[method-assign]
    async with AsyncClient(site.bundle) as client:
        upload = asyncio.ensure_future(client.upload(STORE, "hang", bytes(200_000)))
        await host.until(lambda: parts == 5)  # 3 full ones, the rest, and FINAL
        upload.cancel()
        with pytest.raises(InvalidArgument, match="bytes"):
            await client.upload(STORE, "hang", "text")  # type: ignore[arg-type]
    await host.door.drain(5)


@pytest.fixture
def threaded_host(site: Site) -> Any:
    """The fake host in another thread, for the synchronous client."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def make() -> FakeHost:
        return FakeHost(site)

    host = asyncio.run_coroutine_threadsafe(make(), loop).result(10)
    yield host
    asyncio.run_coroutine_threadsafe(host.door.drain(5), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_the_synchronous_client(site: Site, threaded_host: FakeHost) -> None:
    with Client(site.bundle) as client:
        assert client.subject == "client/admin" and STORE in client.rights
        assert client.call(STORE, "echo", 1) == [1]
        assert list(client.stream(STORE, "count", 40)) == list(range(40))
        for item in client.stream(STORE, "count", 40):
            if item == 3:
                break
        with pytest.raises(NotFound):
            client.call(STORE, "get", "x")
        results: list[Any] = []
        threads = [
            threading.Thread(target=lambda number=number: results.append(client.call(STORE, "echo", number)))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [[number] for number in range(8)]
        assert client.describe(STORE)[STORE]["methods"] == {"get": {}, "put": {}}
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.call(STORE, "echo", 1)


def test_the_synchronous_client_leaves_nothing_after_a_failure(site: Site) -> None:
    before = threading.active_count()
    with pytest.raises(Unavailable):
        Client(site.bundle, "127.0.0.1:1")
    assert threading.active_count() == before


def test_addresses(site: Site) -> None:
    from tlsrt.channels.async_client import parse_address

    assert parse_address("localhost:1") == ("localhost", 1)
    assert parse_address("[::1]:443") == ("::1", 443)
    for text in ("localhost", ":1", "x:0", "x:65536", "x:٣", "x:-1", ""):
        with pytest.raises(ConfigError):
            parse_address(text)
