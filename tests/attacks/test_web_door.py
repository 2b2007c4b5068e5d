"""Attacked sentence: a stranger with a browser's protocol reaches the page and an unproved open, and nothing else.

It takes no places of clients, and what it sends that is no payload ends its connection with a close frame and one word.
"""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from hosts.browser import context_of
from hosts.decoy_events import watching
from hosts.running_host import RunningHost, running
from hosts.web_client import BINARY, CLOSE, PING, TEXT, WebPeer, WebSession, browser_context, enrol, masked

from tlsrt.channels.client.connection import client_context
from tlsrt.channels.session.enrolment import parse_code
from tlsrt.channels.tls.message_stream import OPENING_MAX, encode_control, parse_control_untrusted
from tlsrt.config import door_places, pki
from tlsrt.config.bundle import Bundle
from tlsrt.config.deception import PATHS
from tlsrt.errors import CallError
from tlsrt.supervisor.cli.main import main

STORE = "secondary/store"
T = TypeVar("T")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    detection = {"mode": "observe"}  # what is measured is each defence, not what follows from many offences
    yield from running(
        request, clients=["web"], http=["web"], extra={"door": {"console": True}}, detection=detection,
        policy={f"client/{name} -> {STORE}": "*" for name in ("admin", "web")},
    )  # fmt: skip


def run(coroutine: Coroutine[object, object, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def browser(host: RunningHost, **more: object) -> WebPeer:
    return WebPeer(host.admin.ca_pem, host.port, **more)  # type: ignore[arg-type]


def command(host: RunningHost, *words: str, code: int = 0) -> str:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        assert main([*words, "--config", str(host.config_path)]) == code, said.getvalue()
    return said.getvalue()


def words_of(frames: list[tuple[int, bytes]]) -> list[str]:
    """Return what the host said, without challenges: its last word, and the code of its close frame."""
    said = []
    for opcode, data in frames:
        if opcode == CLOSE:
            said.append(str(int.from_bytes(data, "big")))
        elif opcode == BINARY:
            name, fields = parse_control_untrusted(data, "server")
            said += [] if name == "challenge" else [name, *map(str, fields)]
    return said


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(TEXT, b"hello"), 1003),
        (masked(BINARY, b"hello", mask=b""), 1002),
        (masked(BINARY, b"hello", reserved=0x40), 1002),
        (masked(BINARY, b"x" * (OPENING_MAX + 1)), 1009),
        (masked(BINARY, b"x" * 5000, fin=False) + masked(0, b"x" * 5000, fin=False), 1009),
        (masked(BINARY, b"", fin=False) + masked(0, b"", fin=False) * 2000, 1009),
        (masked(PING, b"") * 2000, 1002),
        (masked(BINARY, b"\x94\xc4\x00"), 1000),  # a frame, before there is a session
        (masked(BINARY, encode_control("ask_unlock")), 1000),
        (masked(BINARY, b"\xff" * 100), 1000),
    ],
)  # fmt: skip
def test_what_is_no_payload_ends_the_connection(host: RunningHost, data: bytes, code: int) -> None:
    async def attack() -> list[str]:
        async with browser(host) as peer:
            assert await peer.upgrade() == 101
            assert (await peer.read_control())[0] == "challenge"
            peer.writer.write(data)
            return words_of(await peer.read_end())

    assert run(attack()) == ["goodbye", "rejected", str(code)]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "localhost.evil.example:7443"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_websocket_protocol": "tlsrt.1, tlsrt-enrol.1"}, 400),
        ({"sec_websocket_extensions": "permessage-deflate"}, 101),  # offered, and not taken
    ],
)
def test_only_a_page_of_this_host_gets_a_websocket(host: RunningHost, fields: dict[str, str], status: int) -> None:
    async def attack() -> int:
        async with browser(host) as peer:
            return await peer.upgrade(**fields)

    assert run(attack()) == status


@pytest.mark.parametrize(
    "path",
    ["/../tlsrt.yaml", "/%2e%2e/master.key", "//etc/passwd", "/index.html/", "/index.html%00.js", "/INDEX.HTML",
     "/.", "/page/", "/index.html?x", "/etc/passwd", "/v1/openapi.json"],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(host: RunningHost, path: str) -> None:
    async def attack() -> int:
        async with browser(host) as peer:
            return (await peer.ask(path))[0]

    assert run(attack()) == 404


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n", 413),
        (b"DELETE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HTTP/1.1\r\n", 400),
        (b"GET /" + b"a" * 9000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431),
        (b"\x16\x03\x01", 400),
    ],
)
def test_other_requests_are_refused_in_a_tiny_page(host: RunningHost, head: bytes, status: int) -> None:
    async def attack() -> None:
        async with browser(host) as peer:
            got, fields, body = await peer.send_head(head)
            assert got == status and fields["connection"] == "close" and len(body) < 200
            assert not await peer.reader.read()

    run(attack())


def test_a_certificate_alone_opens_nothing(host: RunningHost) -> None:
    """Who has seen a certificate has not its key; and a challenge is for its own connection."""

    async def attack() -> None:
        thief = replace(host.admin, key_pem=host.bundle("web").key_pem)
        async with browser(host) as peer:
            assert await peer.upgrade() == 101
            session = WebSession(peer, thief)
            assert await session.open() == "refused"
        async with browser(host) as first, browser(host) as second:
            assert await first.upgrade() == 101 == await second.upgrade()
            _, challenge = await first.read_control()
            await second.read_control()
            second.send(
                encode_control("open", *WebSession(second, host.admin).opening.answer_untrusted(*challenge[:3]))
            )
            assert (await second.read_control())[0] == "refused"

    run(attack())


def test_a_frame_of_another_session_does_not_pass(host: RunningHost) -> None:
    async def attack() -> None:
        async with browser(host) as first, browser(host) as second:
            sessions = []
            for peer in (first, second):
                assert await peer.upgrade() == 101
                sessions.append(WebSession(peer, host.admin))
                assert await sessions[-1].open() == "granted"
            one, two = sessions
            await one.caller.call(STORE, "put", ["a", 1])
            one.caller._send = second.send
            with pytest.raises(CallError):
                await one.caller.call(STORE, "put", ["a", 2], timeout_s=1.0)
            assert await two.caller.call(STORE, "get", ["a"]) == 1

    run(attack())


def test_a_stranger_who_asks_for_a_decoy_is_told_of_by_its_address(host: RunningHost) -> None:
    async def attack() -> int:
        async with browser(host) as peer:
            return (await peer.ask(PATHS[0]))[0]

    with watching(host) as watch:
        assert run(attack()) == 404
        assert "127.0.0.1" in json.dumps(watch.next("decoy_touched"))


def test_a_link_is_used_once(host: RunningHost) -> None:
    answer = json.loads(command(host, "console", "tablet", "--allow", f"{STORE}: get", "--json"))
    code = parse_code(answer["link"].partition("#")[2])
    assert answer["link"].startswith(f"https://127.0.0.1:{host.port}/#")

    async def attack() -> tuple[Bundle | None, Bundle | None]:
        async with browser(host) as peer:
            first = await enrol(peer, code)
        async with browser(host) as peer:
            return first, await enrol(peer, code)

    first, second = run(attack())
    assert first is not None and first.name == "tablet" and second is None


def test_half_requests_and_half_frames_take_no_place_of_others(host: RunningHost) -> None:
    async def attack() -> None:
        async with AsyncExitStack() as stack:
            peers = []
            for number in range(2 * door_places.GUESTS):
                try:
                    peer = await stack.enter_async_context(browser(host))
                    peers.append(peer)
                    if number % 3 == 0:
                        peer.writer.write(b"GET / HTT")
                    elif number % 3 == 1:
                        assert await peer.upgrade() == 101
                        peer.writer.write(masked(BINARY, b"x" * 5000)[:4000])
                except (OSError, EOFError, ssl.SSLError):
                    continue
            assert len(peers) > door_places.GUESTS // 2
            assert await asyncio.to_thread(host.client().call, STORE, "put", "here", 1)
            context = browser_context(host.admin.ca_pem)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", host.port, ssl=context, server_hostname="127.0.0.1", local_addr=("127.0.0.9", 0)
            )
            writer.write(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{host.port}\r\n\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.transport.abort()

    run(attack())


def test_a_client_for_http_with_its_certificate_is_served_as_ever(host: RunningHost) -> None:
    async def ask() -> tuple[bytes, bytes]:
        answers = []
        for name in ("web", "admin"):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", host.port, ssl=context_of(host, name), server_hostname="127.0.0.1"
            )
            writer.write(f"GET /v1/ HTTP/1.1\r\nHost: 127.0.0.1:{host.port}\r\n\r\n".encode())
            answers.append(await reader.readline())
            writer.transport.abort()
        return answers[0], answers[1]

    served, refused = run(ask())
    assert served.startswith(b"HTTP/1.1 200 ") and refused.startswith(b"HTTP/1.1 403 ")


def test_a_certificate_of_another_ca_is_no_browser(host: RunningHost) -> None:
    """Who shows a certificate is judged by it, and not served as one who has none."""
    other = pki.make_ca(b"o" * 16, datetime.now(UTC))
    issued = pki.issue_client(other, b"o" * 16, "admin", datetime.now(UTC))
    stranger = replace(host.admin, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)
    context = client_context(stranger)
    context.set_alpn_protocols(["http/1.1"])

    async def attack() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port, ssl=context, server_hostname="127.0.0.1")
        writer.write(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{host.port}\r\n\r\n".encode())
        return await reader.read()

    with pytest.raises((ssl.SSLError, ConnectionError)):
        run(attack())
