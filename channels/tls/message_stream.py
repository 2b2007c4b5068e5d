"""Messages on a TLS byte stream: u32 BE length | payload. Pure.

A payload is a frame (see `frame.py`) or a control message, a msgpack array that starts with its name. The second byte
tells them apart: a frame starts with a bin, a control message with a str.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgpack

from tlsrt.channels.frames.frame import FRAME_MAX
from tlsrt.channels.session.grant import (
    BOOT_BYTES,
    CERTIFICATE_MAX,
    CHALLENGE_BYTES,
    GRANT_MAX,
    GRANT_SIGNATURE_BYTES,
    INSTALL_BYTES,
    OPEN_MAX,
    OPEN_SIGNATURE_MAX,
)
from tlsrt.channels.session.lock_statement import LOCK_BYTES, REASON_MAX
from tlsrt.config.bundle import MAX_REQUEST_BYTES
from tlsrt.config.issuer_chain import CHAIN_BYTES_MAX, STATEMENT_BYTES
from tlsrt.errors import MisuseError, PeerError

PROTOCOL = "tlsrt/1"  # the ALPN name
PAYLOAD_MAX = FRAME_MAX
OPENING_MAX = OPEN_MAX + OPEN_SIGNATURE_MAX + 32  # all that a client without a session may send
WORD_MAX = 32
_CONTROL_MAX = GRANT_MAX + 1024
_U64 = 1 << 64
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class Control(NamedTuple):
    """One control message."""

    name: str
    fields: tuple[Any, ...]


class _Rule(NamedTuple):
    """Who may send it, and per field its type and the smallest and largest length (bytes, str) allowed."""

    sender: str
    fields: tuple[tuple[type, int, int], ...]


_WORD = (str, 1, WORD_MAX)
_NUMBER = (int, 0, 0)
TABLE: dict[str, _Rule] = {
    # install id, boot id, challenge, the host's now in ms; sent at once after the handshake
    "challenge": _Rule(
        "server",
        ((bytes, INSTALL_BYTES, INSTALL_BYTES), (bytes, BOOT_BYTES, BOOT_BYTES),
         (bytes, CHALLENGE_BYTES, CHALLENGE_BYTES), _NUMBER),
    ),
    # number, ciphertext, signature; the answer to open, and every later push
    "granted": _Rule(
        "server", (_NUMBER, (bytes, 1, GRANT_MAX), (bytes, GRANT_SIGNATURE_BYTES, GRANT_SIGNATURE_BYTES))
    ),
    # which issuer keys follow which; after the challenge, at any time
    "succession": _Rule("server", ((bytes, STATEMENT_BYTES, CHAIN_BYTES_MAX),)),
    "refused": _Rule("server", (_WORD,)),  # no session
    "goodbye": _Rule("server", (_WORD,)),  # the session or the connection ends
    # certificate, signature by the issuer: the answer to renew
    "renewed": _Rule(
        "server", ((bytes, 1, CERTIFICATE_MAX), (bytes, GRANT_SIGNATURE_BYTES, GRANT_SIGNATURE_BYTES))
    ),
    "not_renewed": _Rule("server", (_WORD,)),
    # install id, boot id, lock id: instead of a challenge, the host is locked
    "locked": _Rule(
        "server",
        ((bytes, INSTALL_BYTES, INSTALL_BYTES), (bytes, BOOT_BYTES, BOOT_BYTES), (bytes, LOCK_BYTES, LOCK_BYTES)),
    ),
    # open, signature
    "open": _Rule("client", ((bytes, 1, OPEN_MAX), (bytes, 1, OPEN_SIGNATURE_MAX))),
    # signing request (PKCS #10, DER), signature: once in a session, for another certificate
    "renew": _Rule("client", ((bytes, 1, MAX_REQUEST_BYTES), (bytes, 1, OPEN_SIGNATURE_MAX))),
    "ask_unlock": _Rule("client", ()),  # after locked: answered by a challenge
    # certificate, signature
    "unlock": _Rule("client", ((bytes, 1, CERTIFICATE_MAX), (bytes, 1, OPEN_SIGNATURE_MAX))),
    # certificate, reason, signature: instead of open
    "lock": _Rule("client", ((bytes, 1, CERTIFICATE_MAX), (str, 1, REASON_MAX), (bytes, 1, OPEN_SIGNATURE_MAX))),
}  # fmt: skip


def wrap(payload: bytes) -> bytes:
    """Return a payload as it travels."""
    return len(payload).to_bytes(4, "big") + payload


def is_frame(payload: bytes) -> bool:
    """Tell whether a payload claims to be a frame: an array of four that starts with a bin (0xc4 to 0xc6)."""
    return payload[0] == 0x94 and 0xC4 <= payload[1] <= 0xC6 if len(payload) > 1 else False


def encode_control(name: str, *fields: object) -> bytes:
    """Return a control message of ours; raise MisuseError if it does not fit the table."""
    if not _fits(TABLE[name], fields):
        raise MisuseError(f"the fields of the stream message {name} do not fit")
    packed: bytes = _pack((name, *fields))
    return packed


def parse_control_untrusted(payload: bytes, sender: str) -> Control:
    """Return a control message of that sender, "client" or "server"; raise PeerError."""
    if len(payload) > _CONTROL_MAX:
        raise PeerError("oversize")
    try:
        items = msgpack.unpackb(payload, use_list=False, raw=False, max_array_len=8, max_map_len=0, max_ext_len=0)
    except Exception as error:  # msgpack raises half a dozen classes; all of them mean the same here
        raise PeerError("not_msgpack") from error
    if type(items) is not tuple or not items or type(items[0]) is not str:
        raise PeerError("not_a_message")
    rule = TABLE.get(items[0])
    if rule is None:
        raise PeerError("unknown_message")
    if rule.sender != sender:
        raise PeerError("wrong_direction")
    if not _fits(rule, items[1:]):
        raise PeerError("bad_fields")
    return Control(items[0], items[1:])


def _fits(rule: _Rule, fields: tuple[Any, ...]) -> bool:
    if len(fields) != len(rule.fields):
        return False
    for (kind, least, most), value in zip(rule.fields, fields, strict=True):
        if type(value) is not kind:
            return False
        if not (0 <= _measure(value) < _U64 if kind is int else least <= _measure(value) <= most):
            return False
    return True


def _measure(value: Any) -> int:
    return value if type(value) is int else len(value)


class Framing(Protocol):
    """How payloads travel on a connection. `cap` bounds the next ones of the peer, and so what is ever buffered."""

    cap: int

    def feed_untrusted(self, data: bytes) -> Iterator[bytes]:
        """Take bytes, yield the payloads that are whole now. Raise PeerError at what no peer may send."""

    def encode(self, payloads: Sequence[bytes]) -> bytes:
        """Return payloads as they travel."""

    def end(self) -> bytes:
        """Return what is sent last of all."""


class StreamReader:
    """The framing of a byte stream: u32 BE length | payload."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._buffer = bytearray()

    def encode(self, payloads: Sequence[bytes]) -> bytes:
        """Return payloads as they travel."""
        pieces: list[bytes] = []
        for payload in payloads:
            pieces += (len(payload).to_bytes(4, "big"), payload)
        return b"".join(pieces)

    def end(self) -> bytes:
        """Return nothing: TLS says that it ends."""
        return b""

    def feed_untrusted(self, data: bytes) -> Iterator[bytes]:
        """Take bytes, yield the payloads that are whole now. Raise PeerError at a length that no peer may send.

        Iterate to the end. `cap` is read anew before each payload.
        """
        buffer = self._buffer
        if not buffer and int.from_bytes(data[:4], "big") == len(data) - 4 and 4 < len(data) <= self.cap + 4:
            yield data[4:]  # exactly one, as from most peers: one copy instead of three
            return
        buffer += data
        while len(buffer) >= 4:
            length = int.from_bytes(buffer[:4], "big")
            if not 0 < length <= self.cap:
                raise PeerError("bad_length")
            if len(buffer) < 4 + length:
                return
            payload = bytes(buffer[4 : 4 + length])
            del buffer[: 4 + length]  # moves the start, not the bytes
            yield payload
