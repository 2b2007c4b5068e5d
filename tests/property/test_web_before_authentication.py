"""Every parser that a browser reaches before it has a session: it gets files and one open, and reaches nothing else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection
from contextlib import suppress
from typing import Any, cast

from attackers.fuzzing import CUTS, STEPS, Connected, brief, changed, pieces_of
from fakes.strangers import (
    BOOT,
    CHALLENGE,
    INSTALL,
    OPEN,
    SIGNED,
    RecordingBackend,
    client_engine,
    run,
    server_engine,
    untrusted_of,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tlsrt.channels.tls.message_stream import OPENING_MAX, encode_control
from tlsrt.config.console_page import read_page
from tlsrt.errors import PeerError
from tlsrt.loops.door.client_connection import ClientConnection
from tlsrt.loops.web import connection as web_connection
from tlsrt.loops.web import files as web_files
from tlsrt.loops.web import request as web_request
from tlsrt.loops.web import websocket
from tlsrt.loops.web.connection import WebConnection, WebServer
from tlsrt.loops.web.files import PageFiles
from tlsrt.loops.web.websocket import WebSocketFraming

PARSERS = {
    "head_untrusted", "request_untrusted", "takes_gzip_untrusted", "WebConnection.received_untrusted",
    "WebSocketFraming.feed_untrusted",
}  # fmt: skip
PAGE = PageFiles(read_page())


def test_no_parser_is_forgotten() -> None:
    modules = (web_connection, web_files, web_request, websocket)
    assert {name for module in modules for name in untrusted_of(module)} == PARSERS


class Browser:
    """What a server knows of a browser's connection."""

    key = address = "192.0.2.1"

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.asked = 0

    def on_asked(self) -> None:
        self.asked += 1


class Owner:
    """Speaks as the door does, and keeps what comes of it."""

    web_protocols: Collection[str] = ("tlsrt.1",)

    def __init__(self) -> None:
        self.hub = RecordingBackend()
        self.links: list[ClientConnection] = []
        self.paths: list[str] = []

    def on_web_request(self, address: str, path: str, authorization: str, *, is_foreign: bool) -> None:
        self.paths.append(path)

    def speak(self, client: Any, protocol: str, framing: Any) -> ClientConnection:
        link = ClientConnection(client.connection, 1, self.hub, self.hub, 10.0, framing=framing)
        self.links.append(link)
        link.step("challenged")
        link.say("challenge", INSTALL, BOOT, CHALLENGE, 1)
        return link


def masked(opcode: int, data: bytes, *, is_last: bool = True) -> bytes:
    """Return one frame of a browser."""
    mask = b"\x01\x02\x03\x04"
    size = len(data)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    content = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes(((0x80 if is_last else 0) | opcode,)) + length + mask + content


UPGRADE = (
    b"GET /tlsrt HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nConnection: Upgrade\r\nUpgrade: websocket"
    b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(b"k" * 16) + b"\r\n"
    b"Sec-WebSocket-Protocol: tlsrt.1\r\n\r\n"
)
REQUESTS = [
    UPGRADE,
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HEAD /app.js HTTP/1.1\r\nHost: localhost:7443\r\nIf-None-Match: \"x\"\r\n\r\n",
    b"GET https://localhost/style.css HTTP/1.0\r\nHost: other\r\n\r\n",
    b"GET /app.js HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: br;q=1.0, gzip;q=0.5\r\n\r\n",
    b"GET /../index.html HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
    b"POST /v1/call/secondary/store/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
]  # fmt: skip
OPENED = encode_control("open", OPEN, SIGNED)
FRAMES = st.one_of(
    st.just(masked(2, OPENED)),
    STEPS.map(lambda steps: masked(2, changed(OPENED, steps) or b"\xc0")),
    STEPS.map(lambda steps: changed(masked(2, OPENED), steps)),
    st.tuples(st.integers(0, 15), st.binary(max_size=140), st.booleans()).map(
        lambda one: masked(one[0], one[1], is_last=one[2])
    ),
    st.just(masked(2, OPENED[:20], is_last=False) + masked(9, b"ping") + masked(0, OPENED[20:])),
    st.binary(max_size=60),
)


@given(
    st.lists(st.tuples(st.sampled_from(REQUESTS[1:]), STEPS), max_size=2),
    STEPS, st.lists(FRAMES, max_size=4), CUTS,
)  # fmt: skip
@example([], [], [masked(2, OPENED)], [])
@example([(REQUESTS[1], [])], [], [masked(2, OPENED[:20], is_last=False) + masked(0, OPENED[20:])], [3, 9])
@brief(40)
def test_a_browser_gets_files_and_one_open(
    requests: list[tuple[bytes, Any]], of_upgrade: Any, frames: list[bytes], cuts: list[int]
) -> None:
    """But one open of bounded size nothing goes on, and no word that is answered tells of anything inside."""

    async def work() -> None:
        owner = Owner()
        server = WebServer(owner, PAGE)
        server.set_names(["localhost"])
        peer = Connected(
            server_engine(),
            client_engine("http/1.1"),
            lambda connection: WebConnection(cast("Any", Browser(connection)), server),
        )
        for data in [*(changed(one, steps) for one, steps in requests), changed(UPGRADE, of_upgrade), *frames]:
            for piece in pieces_of(data, cuts):
                peer.send(piece)
                await asyncio.sleep(0)
        for _ in range(4):
            await asyncio.sleep(0)
        hub = owner.hub
        assert hub.frames == [] and hub.locks == [] and hub.delegated == [] and len(hub.opens) <= 1
        assert all(len(one) <= OPENING_MAX and len(other) <= OPENING_MAX for one, other in hub.opens)
        if not requests and not of_upgrade and frames == [masked(2, OPENED)]:
            assert hub.opens == [(OPEN, SIGNED)] and not peer.connection.ended
        head, _, rest = peer.take().rpartition(b"HTTP/1.1 ")
        assert b"Traceback" not in head + rest and b'.py"' not in head + rest
        assert len(owner.links) <= 1 and (rest[:3] == b"101") == bool(owner.links)
        await peer.close()
        await asyncio.sleep(0)

    run(work)


@given(st.lists(FRAMES, max_size=6), st.integers(1, 400), CUTS)
@brief(60)
def test_what_is_held_of_frames_is_bounded(frames: list[bytes], cap: int, cuts: list[int]) -> None:
    framing = WebSocketFraming(cap)
    with suppress(PeerError):
        for piece in pieces_of(b"".join(frames), cuts):
            for payload in framing.feed_untrusted(piece):
                assert 1 <= len(payload) <= cap
            assert len(framing._buffer) + len(framing._message) <= cap + 14 + 125
