"""What a ClientHello offers, read before OpenSSL sees it. Pure.

Python's `ssl` goes on without a protocol when none of the offered ones fits; RFC 7301 wants the fatal alert
`no_application_protocol`. Nor can it be told which groups for the key exchange to insist on. So the server side of the
engine holds a hello back until it is whole, looks for three extensions (RFC 8446, sections 4.1.2 and 4.2.7; RFC 7301,
section 3.1), and passes everything on unchanged. Whatever looks odd is passed on at once: OpenSSL is the judge of TLS,
this is only an early look. It also means that a connection which never finishes its hello costs its bytes and no TLS
state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum

_CLIENT_HELLO = 1
_ALPN = 16
_SUPPORTED_GROUPS = 10
_SUPPORTED_VERSIONS = 43
X25519MLKEM768 = 0x11EC  # draft-ietf-tls-ecdhe-mlkem; IANA's registry of TLS Supported Groups
_TLS13 = b"\x03\x04"
_RECORD_MAX = 16384
HELLO_MAX = 16 * 1024  # with post-quantum shares a hello has about 1.8 KiB; a larger one is not held back


class Verdict(Enum):
    """What to do with the bytes so far."""

    WAIT = "the hello is not whole yet"
    PASS = "give them to TLS"  # noqa: S105 - not a password
    NO_PROTOCOL = "a TLS 1.3 hello that offers none of our protocols"
    NO_GROUP = "a TLS 1.3 hello without the group that we insist on"


class HelloReader:
    """Collects one ClientHello, in linear time however it is cut."""

    def __init__(self, protocols: Collection[bytes], group: int | None = None) -> None:
        self._protocols = protocols
        self._group = group
        self._next = 0  # where the next record starts in `held`
        self._hello = bytearray()
        self.held = bytearray()

    def feed_untrusted(self, data: bytes) -> Verdict:
        """Take more bytes; cannot fail. After a verdict other than WAIT, `held` is everything received."""
        held = self.held
        held += data
        while True:
            if not _looks_like_hello(held, self._next):
                return Verdict.PASS
            if len(held) < self._next + 5:
                return Verdict.WAIT
            length = int.from_bytes(held[self._next + 3 : self._next + 5], "big")
            if not 0 < length <= _RECORD_MAX or len(held) > 2 * HELLO_MAX:
                return Verdict.PASS
            end = self._next + 5 + length
            if len(held) < end:
                return Verdict.WAIT
            self._hello += held[self._next + 5 : end]
            self._next = end
            verdict = self._judge()
            if verdict is not Verdict.WAIT:
                return verdict

    def _judge(self) -> Verdict:
        hello = self._hello
        if hello[0] != _CLIENT_HELLO:
            return Verdict.PASS
        if len(hello) < 4:
            return Verdict.WAIT
        length = int.from_bytes(hello[1:4], "big")
        if length > HELLO_MAX:
            return Verdict.PASS
        if len(hello) < 4 + length:
            return Verdict.WAIT
        return _judge_body(bytes(hello[4 : 4 + length]), self._protocols, self._group)


def _looks_like_hello(held: bytearray, start: int) -> bool:
    """A handshake record (22) of major version 3, as far as it has come."""
    return b"\x16\x03".startswith(held[start : start + 2])


def _judge_body(body: bytes, protocols: Collection[bytes], group: int | None) -> Verdict:
    try:
        extensions = dict(_extensions(body))
        versions = extensions.get(_SUPPORTED_VERSIONS, b"\0")
        if _TLS13 not in {versions[at : at + 2] for at in range(1, len(versions), 2)}:
            return Verdict.PASS  # OpenSSL answers protocol_version
        offered = set(_vectors(extensions.get(_ALPN, b"\0\0")[2:]))
        groups = _numbers(extensions.get(_SUPPORTED_GROUPS, b"\0\0")[2:])
    except (IndexError, ValueError):
        return Verdict.PASS  # malformed: OpenSSL answers decode_error
    if not offered.intersection(protocols):
        return Verdict.NO_PROTOCOL
    return Verdict.PASS if group is None or group in groups else Verdict.NO_GROUP


def _numbers(data: bytes) -> set[int]:
    return {int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)}


def _extensions(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2 + 32
    at += 1 + body[at]  # session id
    at += 2 + int.from_bytes(_exactly(body, at, 2), "big")  # cipher suites
    at += 1 + body[at]  # compression methods
    end = at + 2 + int.from_bytes(_exactly(body, at, 2), "big")
    at += 2
    while at < end:
        kind = int.from_bytes(_exactly(body, at, 2), "big")
        length = int.from_bytes(_exactly(body, at + 2, 2), "big")
        yield kind, _exactly(body, at + 4, length)
        at += 4 + length


def _vectors(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        yield _exactly(data, at + 1, data[at])
        at += 1 + data[at]


def _exactly(data: bytes, at: int, length: int) -> bytes:
    piece = data[at : at + length]
    if len(piece) != length:
        raise ValueError("short")
    return piece
