"""What a ClientHello offers, read before OpenSSL sees it. Pure.

Python's `ssl` goes on without a protocol when none of the offered ones fits; RFC 7301 wants the fatal alert
`no_application_protocol`. Nor can it be told which groups and suites to use. So the server side of the engine holds a
hello back until it is whole, looks at what it offers (RFC 8446, sections 4.1.2 and 4.2; RFC 7301, section 3.1), and
passes everything on unchanged: OpenSSL is the judge of TLS. Refused here is only what offers nothing of ours, which
spares the work, and what OpenSSL would answer with another alert than the RFC wants. It also means that a connection
which never finishes its hello costs its bytes and no TLS state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum

_HANDSHAKE, _SSL2 = 22, 0x80  # the first byte of a hello; before TLS it was a length, with this bit set
_CLIENT_HELLO = 1
_SERVER_NAME, _ALPN, _SUPPORTED_GROUPS, _SUPPORTED_VERSIONS = 0, 16, 10, 43
X25519MLKEM768 = 0x11EC  # draft-ietf-tls-ecdhe-mlkem; IANA's registry of TLS Supported Groups
X25519, SECP256R1 = 0x001D, 0x0017
GROUPS = (X25519MLKEM768, X25519, SECP256R1)  # no finite fields, which cost the server most
SUITES = (0x1302, 0x1303, 0x1301)  # AES-256-GCM, ChaCha20-Poly1305, AES-128-GCM
_TLS13, _SSL3 = 0x0304, 0x0300
_RECORD_MAX = 16384
HELLO_MAX = 16 * 1024  # with post-quantum shares a hello has about 1.8 KiB; a larger one is not held back


class HelloVerdict(Enum):
    """What to do with the bytes so far."""

    WAIT = "the hello is not whole yet"
    PASS = "give them to TLS"  # noqa: S105 - not a password
    STRANGER = "give them to TLS, as a client that has no certificate yet"
    NO_PROTOCOL = "a TLS 1.3 hello that offers none of our protocols"
    NO_GROUP = "a TLS 1.3 hello without a group of ours"
    NO_SUITE = "a TLS 1.3 hello without a suite of ours"
    OLD_VERSION = "a hello of SSL 3.0 or older (RFC 8446, appendix D.5)"
    BAD_VERSIONS = "a hello whose supported_versions cannot be read"
    NO_TLS = "first bytes of something else, such as HTTP or SSH"
    EMPTY_RECORD = "a handshake record with nothing in it (RFC 8446, section 5.1)"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server takes: one of each must be offered. No protocols: none is asked for."""

    protocols: Collection[bytes] = ()
    groups: Collection[int] = GROUPS
    suites: Collection[int] = SUITES
    strangers: Collection[bytes] = ()  # protocols of those without a certificate, who may offer no other


class HelloReader:
    """Collects one ClientHello, in linear time however it is cut."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._next = 0  # where the next record starts in `held`
        self._hello = bytearray()
        self.held = bytearray()
        self.protocols: Collection[bytes] = ()  # that a whole hello of TLS 1.3 offers
        self.server_name = b""  # that it asks for (RFC 6066, section 3)

    def feed_untrusted(self, data: bytes) -> HelloVerdict:
        """Take more bytes; cannot fail. After a verdict other than WAIT, `held` is everything received."""
        held = self.held
        held += data
        while True:
            if not _looks_like_hello(held, self._next):
                return HelloVerdict.NO_TLS if held[0] != _HANDSHAKE and held[0] < _SSL2 else HelloVerdict.PASS
            if len(held) < self._next + 5:
                return HelloVerdict.WAIT
            length = int.from_bytes(held[self._next + 3 : self._next + 5], "big")
            if not length:
                return HelloVerdict.EMPTY_RECORD
            if length > _RECORD_MAX or self._next + 5 + length > 2 * HELLO_MAX:
                return HelloVerdict.PASS
            end = self._next + 5 + length
            if len(held) < end:
                return HelloVerdict.WAIT
            self._hello += held[self._next + 5 : end]
            self._next = end
            verdict = self._judge()
            if verdict is not HelloVerdict.WAIT:
                return verdict

    def _judge(self) -> HelloVerdict:
        hello = self._hello
        if hello[0] != _CLIENT_HELLO:
            return HelloVerdict.PASS
        if len(hello) < 4:
            return HelloVerdict.WAIT
        length = int.from_bytes(hello[1:4], "big")
        if length > HELLO_MAX:
            return HelloVerdict.PASS
        if len(hello) < 4 + length:
            return HelloVerdict.WAIT
        return self._judge_body(bytes(hello[4 : 4 + length]), self._offer)

    def _judge_body(self, body: bytes, offer: Offer) -> HelloVerdict:
        """Judge a whole hello; what is malformed passes, as OpenSSL answers it with the right alert."""
        if int.from_bytes(body[:2], "big") <= _SSL3 and len(body) >= 2:
            return HelloVerdict.OLD_VERSION
        try:
            suites, extensions = _offered(body)
            versions = extensions.get(_SUPPORTED_VERSIONS)
            if versions is None:
                return HelloVerdict.PASS  # OpenSSL answers protocol_version
        except (IndexError, ValueError):
            return HelloVerdict.PASS
        try:
            if _TLS13 not in _numbers(versions, 1):
                return HelloVerdict.PASS
        except (IndexError, ValueError):
            return HelloVerdict.BAD_VERSIONS  # to which OpenSSL answers protocol_version
        try:
            protocols = _names(extensions[_ALPN]) if _ALPN in extensions else set()
            groups = _numbers(extensions[_SUPPORTED_GROUPS], 2) if _SUPPORTED_GROUPS in extensions else None
            self.server_name = _server_name(extensions.get(_SERVER_NAME, b""))
        except (IndexError, ValueError):
            return HelloVerdict.PASS
        self.protocols = protocols
        is_stranger = len(protocols) == 1 and not protocols.isdisjoint(offer.strangers)
        if offer.protocols and not is_stranger and not protocols.intersection(offer.protocols):
            return HelloVerdict.NO_PROTOCOL
        if suites and not suites.intersection(offer.suites):
            return HelloVerdict.NO_SUITE
        if groups is not None and not groups.intersection(offer.groups):
            return HelloVerdict.NO_GROUP
        return HelloVerdict.STRANGER if is_stranger else HelloVerdict.PASS


def _looks_like_hello(held: bytearray, start: int) -> bool:
    """A handshake record (22) of major version 3, as far as it has come."""
    return b"\x16\x03".startswith(held[start : start + 2])


def _offered(body: bytes) -> tuple[set[int], dict[int, bytes]]:
    """Return suites and extensions. Raises IndexError or ValueError for a hello that is not well made."""
    at = 2 + 32
    at += 1 + body[at]  # session id
    suites = _exactly(body, at + 2, int.from_bytes(_exactly(body, at, 2), "big"))
    at += 2 + len(suites)
    at += 1 + body[at]  # compression methods
    end = at + 2 + int.from_bytes(_exactly(body, at, 2), "big")
    if end != len(body):
        raise ValueError("a tail")
    extensions: dict[int, bytes] = {}
    for kind, data in _extensions(body, at + 2):
        if kind in extensions:
            raise ValueError("twice")
        extensions[kind] = data
    return _pairs(suites), extensions


def _extensions(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(body):
        kind = int.from_bytes(_exactly(body, at, 2), "big")
        length = int.from_bytes(_exactly(body, at + 2, 2), "big")
        yield kind, _exactly(body, at + 4, length)
        at += 4 + length


def _numbers(data: bytes, size: int) -> set[int]:
    """A vector, not empty, of numbers of two bytes; its length takes `size` bytes."""
    if len(data) <= size or int.from_bytes(data[:size], "big") != len(data) - size:
        raise ValueError("length")
    return _pairs(data[size:])


def _pairs(data: bytes) -> set[int]:
    if len(data) % 2:
        raise ValueError("odd")
    return {int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)}


def _names(data: bytes) -> set[bytes]:
    if len(data) < 4 or int.from_bytes(data[:2], "big") != len(data) - 2:
        raise ValueError("length")
    names: set[bytes] = set()
    at = 2
    while at < len(data):
        if not data[at]:
            raise ValueError("an empty name")
        names.add(_exactly(data, at + 1, data[at]))
        at += 1 + data[at]
    return names


def _server_name(data: bytes) -> bytes:
    """Return the one name of a list of names, in lower case; nothing for what OpenSSL judges."""
    length = int.from_bytes(data[3:5], "big")
    is_one = len(data) == 5 + length and data[2:3] == b"\0" and int.from_bytes(data[:2], "big") == 3 + length
    return data[5:].lower() if is_one else b""


def _exactly(data: bytes, at: int, length: int) -> bytes:
    piece = data[at : at + length]
    if len(piece) != length:
        raise ValueError("short")
    return piece
