"""Client and door over real sockets and real TLS; a fake host behind the door plays authority, gate and component."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hosts.door_host import DESCRIPTION, GRANTED, INSTALL, STORE, DoorHost, Site, in_a_thread, run

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
from tlsrt.channels.frames import frame as framing
from tlsrt.channels.frames.frame import FrameKind
from tlsrt.channels.session.grant import Right
from tlsrt.config import key_schedule, pki
from tlsrt.errors import CallError, InvalidArgument


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
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        assert client.subject == "client/admin"
        assert client.rights == {STORE: GRANTED}
        assert await client.call(STORE, "echo", 1, b"two", [3]) == [1, b"two", [3]]
        with pytest.raises(NotFound, match="no key x"):
            await client.call(STORE, "get", "x")
        with pytest.raises(Denied, match="third/io"):
            await client.call("third/io", "read")
        with pytest.raises(InvalidArgument):
            await client.call(STORE, "echo", timeout_s=301)
        assert (host.server.connections, host.server.unauthenticated) == (1, 0)
    await host.server.drain(5)
    assert host.server.connections == 0


@run
async def test_many_calls_at_once_and_streams(site: Site) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        answers = await asyncio.gather(*(client.call(STORE, "echo", number) for number in range(200)))
        assert answers == [[number] for number in range(200)]
        assert [item async for item in client.stream(STORE, "count", 25)] == list(range(25))
        description = (await client.describe())[STORE]
        assert description["doc"] == DESCRIPTION["doc"]
        assert tuple(description["methods"]) == GRANTED  # and not "secret", which this client may not call
    await host.server.drain(5)


@run
async def test_pushed_grants_are_applied(site: Site) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        await client.call(STORE, "echo")
        key = key_schedule.request_key(host.mailbox_root, host.sessions[1])
        host.push(1, rights=(Right(STORE, 1, key, ("echo",)), Right("third/io", 1, b"k" * 32, ("read",))))
        await client.call(STORE, "echo")  # its answer comes after the push
        assert client.rights == {STORE: ("echo",), "third/io": ("read",)}
        host.push(1, rights=(Right(STORE, 1, key, ("echo",)),), epoch=2)
        await client.call(STORE, "echo")
        assert client.rights == {STORE: ("echo",)} and client.session_info["epoch"] == 2
        with pytest.raises(Denied, match="third/io"):
            await client.call("third/io", "read")
        assert client.connections == 1
    await host.server.drain(5)


@pytest.mark.parametrize(
    "change",
    [{"boot": b"x" * 16}, {"install": b"x" * 16}, {"session": b"x" * 16}, {"subject": "client/other"}],
    ids=lambda change: next(iter(change)),
)
@run
async def test_a_push_that_does_not_fit_ends_the_connection(site: Site, change: dict[str, Any]) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        host.push(1, **change)
        await host.until(lambda: host.closed_connections == [1])
        assert await client.call(STORE, "echo", 1) == [1]
        assert client.connections == 2
    await host.server.drain(5)


@run
async def test_a_replayed_push_ends_the_connection(site: Site) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        host.numbers -= 1
        host.push(1)
        await host.until(lambda: host.closed_connections == [1])
        assert await client.call(STORE, "echo", 1) == [1]
    await host.server.drain(5)


@run
async def test_reconnect_after_the_server_closes(site: Site) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        hanging = asyncio.ensure_future(client.call(STORE, "hang"))
        repeated = asyncio.ensure_future(client.call(STORE, "hang", "again", idempotent=True))
        await host.until(lambda: len(host.seen) == 2)
        host.door.close(1, "rejected")
        with pytest.raises(OutcomeUnknown):
            await hanging
        assert await client.call(STORE, "echo", "back") == ["back"]
        await host.until(lambda: len(host.seen) >= 4)
        first, second = (repr(key) for method, args, key in host.seen if args == ["again"])
        assert second == f"[{first}, 1]"  # a repetition says for which mailbox
        assert not repeated.done()
        repeated.cancel()
        assert client.connections == 2
    await host.server.drain(5)


@run
async def test_calls_wait_while_the_server_is_down(site: Site) -> None:
    first = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        await first.server.drain(5)
        with pytest.raises(Unavailable, match="not sent"):
            await client.call(STORE, "echo", timeout_s=0.05)
        waiting = asyncio.ensure_future(client.call(STORE, "echo", 7))
        second = DoorHost(site)
        assert await waiting == [7]
        assert second.seen == [("echo", [7], None)]
    await second.server.drain(5)


@run
async def test_an_idle_client_comes_back_when_it_is_needed(site: Site) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        host.door.close(1, "idle")
        await until_down(client)
        assert await client.call(STORE, "echo", 7) == [7]
        assert client.connections == 2
    await host.server.drain(5)


@pytest.mark.parametrize(
    ("word", "kind"), [("rejected", Rejected), ("locked", ServerLocked), ("timeout", Unavailable), ("other", CallError)]
)
@run
async def test_refused_sessions(site: Site, word: str, kind: type[CallError]) -> None:
    host = DoorHost(site)
    host.refusal = word
    with pytest.raises(kind):
        async with AsyncClient(site.bundle):
            pytest.fail("there is no session")
    await host.server.drain(5)


@run
async def test_waiting_calls_learn_of_a_lock(site: Site) -> None:
    host = DoorHost(site)
    async with AsyncClient(site.bundle) as client:
        host.refusal = "locked"
        host.door.close(1, "locked")
        await until_down(client)
        with pytest.raises(ServerLocked):
            await client.call(STORE, "echo")
        host.refusal = ""
        assert await wait_for_echo(client) == ["now"]
    await host.server.drain(5)


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
    host = DoorHost(site)
    stranger = pki.make_ca(INSTALL, datetime.now(UTC))
    bundle = dataclasses.replace(site.bundle, ca_pem=stranger.certificate_pem)
    with pytest.raises(ConfigError, match="cannot prove that it is the one in the bundle"):
        await AsyncClient(bundle).__aenter__()
    bundle = dataclasses.replace(site.bundle, server_name="elsewhere.example")
    with pytest.raises(ConfigError, match="cannot prove that it is the one in the bundle"):
        await AsyncClient(bundle).__aenter__()
    await host.server.drain(5)
    assert not host.opens


@run
async def test_client_of_another_ca_is_refused(site: Site) -> None:
    host = DoorHost(site)
    stranger = pki.issue_client(pki.make_ca(INSTALL, datetime.now(UTC)), INSTALL, "admin", datetime.now(UTC))
    bundle = dataclasses.replace(site.bundle, certificate_pem=stranger.certificate_pem, key_pem=stranger.key_pem)
    with pytest.raises(Rejected, match="does not accept this bundle's certificate"):
        await AsyncClient(bundle).__aenter__()
    await host.server.drain(5)
    assert not host.opens


@run
async def test_bundle_of_another_install_or_issuer_is_refused(site: Site) -> None:
    host = DoorHost(site)
    with pytest.raises(ConfigError, match="another installation"):
        await AsyncClient(dataclasses.replace(site.bundle, install_id=b"x" * 16)).__aenter__()
    assert not host.opens
    with pytest.raises(ConfigError, match="not signed by the issuer"):
        await AsyncClient(dataclasses.replace(site.bundle, issuer_public=b"x" * 32)).__aenter__()
    await host.server.drain(5)


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
    host = DoorHost(site)
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
    await host.server.drain(5)


@run
async def test_upload_parts_reach_the_host(site: Site) -> None:
    host = DoorHost(site)
    parts = 0
    original = host.frame

    def count(connection: int, frame: bytes) -> None:
        nonlocal parts
        header = framing.parse_header_untrusted(framing.parse_frame_untrusted(frame).header)
        parts += header.kind == FrameKind.PART
        original(connection, frame)

    host.frame = count  # type: ignore[method-assign,assignment]
    async with AsyncClient(site.bundle) as client:
        upload = asyncio.ensure_future(client.upload(STORE, "hang", bytes(200_000)))
        await host.until(lambda: parts == 5)  # 3 full ones, the rest, and FINAL
        upload.cancel()
        with pytest.raises(InvalidArgument, match="bytes"):
            await client.upload(STORE, "hang", "text")  # type: ignore[arg-type]
    await host.server.drain(5)


@pytest.fixture
def threaded_host(site: Site) -> Any:
    with in_a_thread(site) as host:
        yield host


def test_the_synchronous_client(site: Site, threaded_host: DoorHost) -> None:
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
        assert tuple(client.describe(STORE)[STORE]["methods"]) == GRANTED
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.call(STORE, "echo", 1)


def test_the_synchronous_client_leaves_nothing_after_a_failure(site: Site) -> None:
    before = threading.active_count()
    with pytest.raises(Unavailable):
        Client(site.bundle, "127.0.0.1:1")
    assert threading.active_count() == before


def test_addresses(site: Site) -> None:
    from tlsrt.channels.client.address import parse_address

    assert parse_address("localhost:1") == ("localhost", 1)
    assert parse_address("[::1]:443") == ("::1", 443)
    for text in ("localhost", ":1", "x:0", "x:65536", "x:٣", "x:-1", ""):
        with pytest.raises(ConfigError):
            parse_address(text)
