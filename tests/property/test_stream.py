"""The byte stream of the door: whatever comes, however it is cut."""

from __future__ import annotations

import ssl
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.channels.session.grant import parse_grant_untrusted, parse_open_untrusted
from tlsrt.channels.tls import message_stream
from tlsrt.channels.tls.client_hello import HelloReader, HelloVerdict, Offer
from tlsrt.errors import PeerError

OFFER = Offer((b"tlsrt/1",))


def feed_all(pieces: list[bytes], cap: int) -> tuple[list[bytes], bool]:
    """Return all payloads and whether the reader refused."""
    reader, payloads = message_stream.StreamReader(cap), []
    try:
        for piece in pieces:
            for payload in reader.feed_untrusted(piece):
                payloads.append(payload)
    except PeerError:
        return payloads, True
    return payloads, False


@given(st.binary(max_size=60), st.integers(1, 40))
def test_reader_one_chunk_is_byte_by_byte(data: bytes, cap: int) -> None:
    assert feed_all([data], cap) == feed_all([data[at : at + 1] for at in range(len(data))], cap)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(0, 2500), max_size=6))
def test_reader_returns_what_was_wrapped(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(message_stream.wrap(payload) for payload in payloads)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert feed_all(pieces, 300) == (payloads, False)


@given(st.binary(max_size=400))
def test_every_byte_string_parses_or_raises_the_one_error(data: bytes) -> None:
    for parse in (
        parse_open_untrusted, parse_grant_untrusted,
        lambda data: message_stream.parse_control_untrusted(data, "client"),
        lambda data: message_stream.parse_control_untrusted(data, "server"),
    ):  # fmt: skip
        try:
            parse(data)
        except PeerError:
            pass
    message_stream.is_frame(data)


def hello_of(alpn: list[str]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


HELLO, OTHER_HELLO = hello_of(["h2", "tlsrt/1"]), hello_of(["h2"])


def judge(pieces: list[bytes]) -> tuple[HelloVerdict, bytes]:
    reader, verdict, at = HelloReader(OFFER), HelloVerdict.WAIT, 0
    while at < len(pieces) and verdict is HelloVerdict.WAIT:
        verdict = reader.feed_untrusted(pieces[at])
        at += 1
    return verdict, bytes(reader.held) + b"".join(pieces[at:])


@given(st.sampled_from([HELLO, OTHER_HELLO]), st.integers(0), st.integers(0, 255), st.booleans())
@settings(max_examples=300)
def test_hello_reader_never_fails_and_loses_nothing(hello: bytes, position: int, value: int, cut: bool) -> None:
    changed = bytearray(hello)
    changed[position % len(hello)] = value
    data = bytes(changed)
    one, held = judge([data])
    assert held == data
    many, held = judge([data[at : at + 1] for at in range(len(data))] if cut else [data[:20], data[20:]])
    assert (many, held) == (one, data)


def test_hello_verdicts() -> None:
    assert judge([HELLO])[0] is HelloVerdict.PASS
    assert judge([OTHER_HELLO])[0] is HelloVerdict.NO_PROTOCOL
    records = b"".join(b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in OTHER_HELLO[5:])
    assert judge([records])[0] is HelloVerdict.NO_PROTOCOL
    assert judge([HELLO[:-1]])[0] is HelloVerdict.WAIT


@given(st.binary(max_size=80).map(lambda data: b"\x16\x03\x01" + data))
def test_hello_reader_takes_anything(data: bytes) -> None:
    assert judge([data]) == judge([data[at : at + 1] for at in range(len(data))])
