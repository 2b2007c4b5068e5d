"""Messages of netlink, netlink(7): headers and attributes, written and read. Pure.

The kernel's answers are read as untrusted all the same: whatever bytes come, they are an answer or the one error.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tlsrt.errors import PeerError

REQUEST, MULTI, ACK, EXCLUSIVE, DUMP, CREATE = 0x1, 0x2, 0x4, 0x200, 0x300, 0x400  # flags
ERROR = 2  # the type of a message that ends a request, with an errno or 0
NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ALIGNED = 4


@dataclass(frozen=True, slots=True)
class NetlinkMessage:
    """One message: its type, the number of its request, what is behind the header, and its flags."""

    type: int
    sequence: int
    body: bytes
    flags: int = 0


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return one message, padded."""
    return _padded(_HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body)


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded."""
    return _padded(_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return one attribute that holds others."""
    return attribute(kind | NESTED, b"".join(attributes))


def messages_untrusted(data: bytes) -> Iterator[NetlinkMessage]:
    """Give the messages of a datagram. Raises PeerError for anything else."""
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise PeerError("bad_netlink")
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise PeerError("bad_netlink")
        yield NetlinkMessage(kind, sequence, data[at + _HEADER.size : at + length], flags)
        at += _aligned(length)


def attributes_untrusted(data: bytes) -> dict[int, bytes]:
    """Return attributes by their kind; of those that come twice the last one. Raises PeerError for anything else."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if len(data) - at < _ATTRIBUTE.size:
            raise PeerError("bad_netlink")
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            raise PeerError("bad_netlink")
        found[kind & ~NESTED] = data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def outcome_untrusted(data: bytes, last: int) -> int | None:
    """Return the errno of the first request that failed, 0 if the one with number `last` is done, else None.

    Raises PeerError for what is no answer of the kernel.
    """
    outcome: int | None = None
    for one in messages_untrusted(data):
        if one.type != ERROR:
            continue
        if len(one.body) < 4:
            raise PeerError("bad_netlink")
        (error,) = struct.unpack_from("=i", one.body)
        if error:
            return -int(error) if -4096 < error < 0 else errno.EIO
        if one.sequence == last:
            outcome = 0
    return outcome


def _padded(data: bytes) -> bytes:
    return data.ljust(_aligned(len(data)), b"\0")


def _aligned(length: int) -> int:
    return (length + _ALIGNED - 1) // _ALIGNED * _ALIGNED
