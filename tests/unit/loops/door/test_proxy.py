"""PROXY headers, version 2: what is read, and what is refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.loops.door.proxy import LENGTH_MAX, SIGNATURE, Proxied, ProxyReader


def header(address: str = "192.0.2.7", *, command: int = 0x21, family: int | None = None, extra: bytes = b"") -> bytes:
    packed = ipaddress.ip_address(address).packed
    body = packed + packed + b"\x12\x34\x01\xbb" + extra
    kind = (0x11 if len(packed) == 4 else 0x21) if family is None else family
    return SIGNATURE + bytes([command, kind]) + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("extra", [b"", b"\x01\x00\x02h2"])
def test_who_is_behind_the_proxy(address: str, extra: bytes) -> None:
    assert ProxyReader().feed_untrusted(header(address, extra=extra) + b"\x16\x03") == Proxied(address, b"\x16\x03")


def test_a_proxy_speaks_for_itself() -> None:
    assert ProxyReader().feed_untrusted(SIGNATURE + b"\x20\x00\x00\x00hello") == Proxied("", b"hello")


def test_byte_by_byte_it_means_the_same() -> None:
    reader, data = ProxyReader(), header("2001:db8::7", extra=b"x" * 40)
    found = [reader.feed_untrusted(data[at : at + 1]) for at in range(len(data))]
    assert found[:-1] == [None] * (len(data) - 1) and found[-1] == Proxied("2001:db8::7", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x16\x03\x01\x00\xff", "proxy_signature"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", "proxy_signature"),
        (header(command=0x11), "proxy_command"),
        (header(command=0x22), "proxy_command"),
        (header(family=0x12), "proxy_family"),
        (header(family=0x31), "proxy_family"),
        (header(family=0x21), "proxy_family"),  # too short for what it says it is
        (SIGNATURE + b"\x21\x11" + (LENGTH_MAX + 1).to_bytes(2, "big"), "proxy_length"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as refused:
        ProxyReader().feed_untrusted(data)
    assert refused.value.reason == reason


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_any_bytes_are_a_header_or_the_one_error(tail: bytes, garbage: bytes) -> None:
    for data in (garbage, SIGNATURE + tail):
        try:
            ProxyReader().feed_untrusted(data)
        except PeerError:
            continue
