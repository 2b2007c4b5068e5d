"""The codec of WebSocket: what a browser sends comes out whole, and everything else ends in one kind of error."""

from __future__ import annotations

import pytest
from hosts.web_client import BINARY, CLOSE, PING, PONG, TEXT, masked
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.loops.web.websocket import CONTROLS_MAX, FRAGMENTS_MAX, WebSocketFraming, accept_key, frame

CAP = 70_000


def read(data: bytes, cap: int = CAP, step: int = 0) -> tuple[list[bytes], WebSocketFraming, str]:
    """Return payloads, the framing, and the reason of a refusal; in pieces of this many bytes."""
    framing = WebSocketFraming(cap)
    payloads: list[bytes] = []
    try:
        for at in range(0, len(data), step or len(data) or 1):
            payloads += framing.feed_untrusted(data[at : at + (step or len(data))])
    except PeerError as error:
        return payloads, framing, error.reason
    return payloads, framing, ""


def test_the_accept_key_is_that_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536, CAP])
def test_payloads_of_each_size_come_through(size: int) -> None:
    payload = bytes(at % 251 for at in range(size))
    assert read(masked(BINARY, payload))[0] == [payload]
    ours = frame(BINARY, payload)
    assert ours.endswith(payload) and len(ours) - size == (2 if size < 126 else 4 if size < 65536 else 10)


@given(st.lists(st.lists(st.binary(max_size=200), min_size=1, max_size=5), max_size=5), st.integers(1, 64))
def test_fragments_and_cuts_change_nothing(messages: list[list[bytes]], step: int) -> None:
    messages = [parts for parts in messages if any(parts)]
    data = b""
    for parts in messages:
        for number, part in enumerate(parts):
            data += masked(0 if number else BINARY, part, fin=number == len(parts) - 1) + masked(PING, b"?")
    wanted = [b"".join(parts) for parts in messages]
    assert read(data, step=step)[0] == wanted
    assert read(data)[0] == wanted


@given(st.binary(max_size=400), st.integers(1, 40))
def test_any_bytes_are_read_or_refused_the_same_however_they_are_cut(data: bytes, step: int) -> None:
    whole, cut = read(data), read(data, step=step)
    assert (whole[0], whole[2], whole[1].is_closed) == (cut[0], cut[2], cut[1].is_closed)


@pytest.mark.parametrize(
    ("data", "reason", "code"),
    [
        (masked(TEXT, b"hello"), "websocket_text", 1003),
        (masked(BINARY, b"hello", mask=b""), "websocket_unmasked", 1002),
        (masked(BINARY, b"hello", reserved=0x40), "websocket_extension", 1002),
        (masked(BINARY, b""), "websocket_empty", 1002),
        (masked(3, b"x"), "websocket_opcode", 1002),
        (masked(0, b"x"), "websocket_order", 1002),
        (masked(BINARY, b"x", fin=False) + masked(BINARY, b"y"), "websocket_order", 1002),
        (masked(PING, b"x", fin=False), "websocket_cut_control", 1002),
        (masked(PING, b"x" * 126), "websocket_long_control", 1002),
        (masked(CLOSE, b"x"), "websocket_close", 1002),
        (bytes((0x82, 0xFE, 0, 5)), "websocket_long_length", 1002),
        (bytes((0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255)), "websocket_long_length", 1002),
        (bytes((0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1)), "websocket_too_big", 1009),
        (masked(BINARY, b"x" * (CAP + 1))[:14], "websocket_too_big", 1009),
        (masked(BINARY, b"x" * CAP, fin=False) + masked(0, b"y")[:2], "websocket_too_big", 1009),
        (masked(PONG, b"") * (CONTROLS_MAX + 1), "websocket_controls", 1002),
    ],
)  # fmt: skip
def test_what_no_client_may_send_is_refused_with_its_code(data: bytes, reason: str, code: int) -> None:
    _, framing, said = read(data)
    assert said == reason
    assert framing.end() == frame(CLOSE, code.to_bytes(2, "big"))
    assert framing.end() == b""  # once


def test_empty_fragments_are_bounded() -> None:
    data = masked(BINARY, b"", fin=False) + masked(0, b"", fin=False) * FRAGMENTS_MAX
    assert read(data, step=1000)[2] == "websocket_fragments"


def test_the_last_ping_of_a_read_is_answered_and_nothing_after_a_close() -> None:
    _, framing, _ = read(masked(PING, b"a") + masked(PING, b"b"))
    assert framing.take_reply() == frame(PONG, b"b") and framing.take_reply() == b""
    payloads, framing, reason = read(masked(CLOSE, b"") + masked(TEXT, b"never read"))
    assert framing.is_closed and (payloads, reason) == ([], "")


def test_the_bound_is_read_anew_for_each_message() -> None:
    framing = WebSocketFraming(10)
    got = []
    for payload in framing.feed_untrusted(masked(BINARY, b"x" * 10) + masked(BINARY, b"y" * 20)):
        got.append(len(payload))
        framing.cap = 20
    assert got == [10, 20]
