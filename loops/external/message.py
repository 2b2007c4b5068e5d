"""One message: its envelope, the addresses in it, and the signature that another host verifies. Pure.

What travels between hosts is `(content, signature)`: the content is the msgpack of the fields in their order, and the
signature is Ed25519 (RFC 8032) over a label and these bytes. It is verified before a field is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tlsrt import InvalidArgument

BODY_BYTES = 64 * 1024  # more is an attachment
ATTACHMENTS = 16
HOPS = 8  # how often a message may go on to another host
YEAR_MS = 366 * 86_400_000
SIGNED_BYTES = BODY_BYTES + 16 * 1024  # of all that travels
_LABEL = b"tlsrt message 1\0"
_OWN = r"(?:client|primary|secondary|third|forth|external)/[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}"
HOST = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
LOCAL = re.compile(_OWN)
TO = re.compile(rf"(?:{_OWN}(?:@[a-z0-9][a-z0-9-]{{0,62}})?|group/[a-z0-9][a-z0-9_-]{{0,62}})")
TO_RULE = "client/NAME, a component such as third/notify, group/NAME, or one of the first two with @HOST"
ID = re.compile(r"[0-9a-f]{32}")
ID_RULE = "32 hexadecimal digits in small letters"
TOPIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}")
CONTENT_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}(?:; ?[a-zA-Z0-9=_.-]{1,64})?"
)
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,126}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
MESSAGE, RECEIPT = "message", "receipt"


class BadEnvelopeError(Exception):
    """What another host sent is no message of it. The text says why, for people."""


class Attached(NamedTuple):
    """A file that belongs to a message."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message. `sender` is who the gate vouches for; `origin` who wrote what was sent on. Times are wall ms."""

    id: str
    kind: str  # MESSAGE, or RECEIPT: that `in_reply_to` was read
    sender: str
    to: str
    topic: str
    content_type: str
    body: str | bytes
    created_ms: int
    expires_ms: int
    priority: int  # 0 to 9, 9 first
    in_reply_to: str
    attachments: tuple[Attached, ...]
    hops: int
    origin: str

    @property
    def size(self) -> int:
        """Return the bytes of the body as they are kept."""
        return len(self.body.encode()) if isinstance(self.body, str) else len(self.body)


def split_host(address: str) -> tuple[str, str]:
    """Return the address without its host, and the host; that is empty for this one."""
    own, _, host = address.partition("@")
    return own, host


def without_host(address: str, own: str) -> str:
    """Return an address without the name of this host, which is `own`."""
    local, host = split_host(address)
    return local if host and host == own else address


def attached_of(attachments: Sequence[Mapping[str, Any]]) -> tuple[Attached, ...]:
    """Return attachments as a caller writes them. Raises InvalidArgument."""
    found: dict[str, Attached] = {}
    for one in attachments:
        name, size, sha256 = (one.get(key) for key in ("name", "size", "sha256"))
        if not isinstance(name, str) or type(size) is not int or not isinstance(sha256, str) or name in found:
            raise InvalidArgument("attachments: each is {name, size, sha256}, with a name of its own")
        found[name] = Attached(name, size, sha256)
    return tuple(found.values())


def signed(envelope: Envelope, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Return content and signature, as they travel to another host."""
    fields = [getattr(envelope, name) for name in Envelope.__slots__]
    fields[_ATTACHMENTS] = [list(one) for one in envelope.attachments]
    content: bytes = msgpack.packb(fields)
    return content, key.sign(_LABEL + content)


def opened_untrusted(content: bytes, signature: bytes, key: Ed25519PublicKey, host: str) -> Envelope:
    """Return the message that a host has sent. Raises BadEnvelopeError, also if it speaks for another host."""
    try:
        key.verify(signature, _LABEL + content)
    except InvalidSignature:
        raise BadEnvelopeError(f"its signature is not of the key that is set for {host}") from None
    try:
        fields = msgpack.unpackb(content)  # of which nothing is longer than it is
    except (ValueError, msgpack.UnpackException, RecursionError):
        raise BadEnvelopeError("its content is no msgpack") from None
    if not isinstance(fields, list) or len(fields) != len(Envelope.__slots__):
        raise BadEnvelopeError("it has other fields than a message")
    values: dict[str, Any] = dict(zip(Envelope.__slots__, fields, strict=True))
    for name, is_right in _RULES.items():
        if not is_right(values[name]):
            raise BadEnvelopeError(f"its field {name} is malformed")
    sender, of = split_host(values["sender"])
    if of != host or not LOCAL.fullmatch(sender):
        raise BadEnvelopeError(f"its sender is not of {host}, which may speak for its own alone")
    if values["kind"] == RECEIPT and not values["in_reply_to"]:
        raise BadEnvelopeError("it is a receipt of nothing")
    attachments = tuple(Attached(*one) for one in values["attachments"])
    if len({one.name for one in attachments}) < len(attachments):
        raise BadEnvelopeError("two of its attachments have one name")
    return Envelope(**{**values, "attachments": attachments})


def _is_number(least: int, most: int) -> Any:
    return lambda value: type(value) is int and least <= value <= most


def _is_text(pattern: re.Pattern[str], *, may_be_empty: bool = False) -> Any:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value) or (may_be_empty and not value))


def _is_body(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= BODY_BYTES and len(value.encode(errors="replace")) <= BODY_BYTES
    return isinstance(value, bytes) and len(value) <= BODY_BYTES


def _are_attachments(value: object) -> bool:
    return isinstance(value, list) and len(value) <= ATTACHMENTS and all(
        isinstance(one, list) and len(one) == 3
        and isinstance(one[0], str) and FILE_NAME.fullmatch(one[0])
        and type(one[1]) is int and 0 <= one[1] < 1 << 40
        and isinstance(one[2], str) and _SHA256.fullmatch(one[2])
        for one in value
    )  # fmt: skip


_ATTACHMENTS = Envelope.__slots__.index("attachments")
_ANYONE = re.compile(rf"{_OWN}(?:@[a-z0-9][a-z0-9-]{{0,62}})?")
_RULES = {
    "id": _is_text(ID), "kind": lambda value: value in (MESSAGE, RECEIPT), "sender": _is_text(_ANYONE),
    "to": _is_text(LOCAL), "topic": _is_text(TOPIC, may_be_empty=True), "content_type": _is_text(CONTENT_TYPE),
    "body": _is_body, "created_ms": _is_number(0, 1 << 53), "expires_ms": _is_number(0, 1 << 53),
    "priority": _is_number(0, 9), "in_reply_to": _is_text(ID, may_be_empty=True), "attachments": _are_attachments,
    "hops": _is_number(0, 1 << 16), "origin": _is_text(_ANYONE, may_be_empty=True),
}  # fmt: skip


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key of 64 hexadecimal digits. Raises ValueError."""
    if not _SHA256.fullmatch(text):
        raise ValueError("key: write the 64 digits that `tlsrt call external/messages key` shows at that host")
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


def private_key(secret: bytes) -> Ed25519PrivateKey:
    """Return the key that a secret of 32 bytes or more is, as `secret make` draws it. Raises InvalidArgument."""
    if len(secret) < 32:
        raise InvalidArgument(f"the secret has {len(secret)} bytes and a key has 32: draw it with `secret make`")
    return Ed25519PrivateKey.from_private_bytes(secret[:32])
