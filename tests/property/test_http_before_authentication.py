"""Every parser of HTTP that a client reaches before its session is granted: a problem is all that it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from attackers.fuzzing import CUTS, STEPS, Connected, brief, changed, pieces_of
from fakes.strangers import CLIENT_DER, RecordingBackend, client_engine, run, server_engine, untrusted_of
from hypothesis import example, given
from hypothesis import strategies as st

from tlsrt.channels.tls import connection as tls_connection
from tlsrt.loops.http import connection as http_link
from tlsrt.loops.http import framing as http_framing
from tlsrt.loops.http import request as http_request
from tlsrt.loops.http import site as http_site
from tlsrt.loops.http.connection import HttpConnection, HttpServer
from tlsrt.loops.http.response import Problem
from tlsrt.loops.http.site import HostNames

PARSERS = {
    "HttpConnection.received_untrusted", "RequestFraming.next_untrusted", "RequestFraming.take_untrusted",
    "check_site_untrusted", "one_form_untrusted", "wish_untrusted",
}  # fmt: skip
REQUESTS = [
    b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/call/secondary/store/put?timeout_s=3 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 17\r\n\r\n{"key": "a"}     ',
    b"POST /v1/call/secondary/store/get HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
    b"GET /v1/events/third/io/notice HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def test_no_parser_is_forgotten() -> None:
    modules = (http_link, http_request, http_framing, http_site)
    assert {name for module in modules for name in untrusted_of(module)} == PARSERS


@given(st.lists(st.tuples(st.sampled_from(REQUESTS), STEPS), min_size=1, max_size=3), CUTS, st.booleans())
@example([(REQUESTS[2], [])], [737], False)
@brief(25)
def test_http_without_a_session_is_a_problem_and_reaches_nobody(
    requests: list[tuple[bytes, Any]], cuts: list[int], is_refused: bool
) -> None:
    """What is answered is HTTP, and tells of nothing inside; the gate gets no frame."""

    async def work() -> None:
        hub = RecordingBackend()
        links: list[HttpConnection] = []

        def choose(connection: tls_connection.TlsConnection) -> HttpConnection:
            links.append(HttpConnection(connection, 1, "192.0.2.1", hub, HttpServer(hub)))
            return links[0]

        peer = Connected(server_engine(), client_engine("http/1.1"), choose)
        for request, steps in requests:
            for piece in pieces_of(changed(request, steps), cuts):
                peer.send(piece)
                await asyncio.sleep(0)
        if is_refused:
            links[0].refuse("rejected")
        for _ in range(6):
            await asyncio.sleep(0)
        assert hub.frames == [] and hub.delegated == [CLIENT_DER]
        plain = peer.take()
        assert b"Traceback" not in plain and b".py" not in plain
        assert all(status == 100 or 400 <= status < 500 or status in (501, 505) for status in statuses(plain)), plain
        await peer.close()
        assert hub.closings == 1
        await asyncio.sleep(0)

    run(work)


def statuses(plain: bytes) -> list[int]:
    """Read all answers with another parser's eyes; bytes that are none fail."""
    found: list[int] = []
    while plain:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(plain)
        reader.receive_data(b"")
        while True:
            got = reader.next_event()
            if isinstance(got, (h11.InformationalResponse, h11.Response)):
                found.append(got.status_code)
            if isinstance(got, h11.InformationalResponse) and not reader.trailing_data[0]:
                return found  # its answer waits for a session
            if isinstance(got, h11.EndOfMessage):
                break
            assert got is not h11.NEED_DATA and not isinstance(got, h11.ConnectionClosed)
        plain = reader.trailing_data[0]
    return found


@given(st.text(max_size=12), st.text(max_size=60), st.lists(st.tuples(st.text(max_size=16), st.text(max_size=16))))
@brief(25)
def test_any_head_is_a_wish_or_a_problem(method: str, target: str, headers: list[tuple[str, str]]) -> None:
    try:
        http_request.wish_untrusted(method, target, headers, HostNames(["kitchen.example"]))
    except Problem:
        pass
