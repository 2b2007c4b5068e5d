"""Records of the audit log: headers, records and checkpoints, and their bytes. Pure.

    entry  = u32 BE length of body | body | chain, 32 bytes | MAC, 32 bytes
    chain  = SHA-256(0x02 | chain of the entry before | body)
    MAC    = HMAC-SHA256(MAC key of this entry, chain)

A body is one msgpack array, positional, written in one way only: what would be written otherwise is refused. Headers
and checkpoints are `[type, sequence, content, signature, leaves]`; the signature is Ed25519 over a domain, the sequence
(u64 BE) and the content, which is an array as well. The leaves of a checkpoint stand outside of it, with their hash in
it, so that a proof can do without them; a header has none.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any, Final, NamedTuple

import msgpack

from tlsrt.errors import PeerError
from tlsrt.text import ascii_only

KIND_MAX: Final = 48
SUBJECT_MAX: Final = 160
NAME_MAX: Final = 48
VALUE_MAX: Final = 256
PAIRS_MAX: Final = 16
INTEGER_MAX: Final = (1 << 63) - 1
VERSION: Final = 1
BODY_MAX: Final = 16 * 1024
HASH: Final = 32
SEGMENT_MAX: Final = 256  # entries from one checkpoint to the next
LEAF_BYTES: Final = 8  # of each leaf hash in a checkpoint: to name what was changed, not to prove it
HEADER, RECORD, CHECKPOINT = 0, 1, 2
OPEN, STOPPED, ROTATED = "", "stopped", "rotated"  # what a checkpoint says of its file's end
NONE, CUT, FINAL = "none", "cut", "final"  # how the file before ended
_LENGTH: Final = struct.Struct(">I")
_SEQUENCE_MAX: Final = 1 << 63
_HEADER_DOMAIN: Final = b"tlsrt/audit/header/v1\0"
_CHECKPOINT_DOMAIN: Final = b"tlsrt/audit/checkpoint/v1\0"

Detail = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class LogHeader:
    """The first entry of a file. Times are ms."""

    version: int
    install: bytes
    file: int  # from 1
    life: int  # of the authority that wrote it
    file_in_life: int  # from 0: how often its file key was stepped
    boot: bytes  # boot id
    boottime: int
    wall: int
    root: bytes  # public key that signs the first header of each life
    next_key: bytes  # public key of the next checkpoint
    header_key: bytes  # public key of the header of this life's next file
    before_file: int  # 0: there was none
    before_bytes: int
    before_sequence: int
    before_chain: bytes
    before_end: str


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One thing that happened. Times are ms."""

    boottime: int
    wall: int
    kind: str
    subject: str
    detail: tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed head: everything that stands before it in its file. With an `end`, nothing follows."""

    file: int
    size: int  # entries before it in this file
    root: bytes  # of the tree over their bodies
    chain: bytes  # of the last of them
    leaves_hash: bytes  # SHA-256 of the first 8 bytes of each leaf hash, from the checkpoint before (with it) on
    next_key: bytes  # public key of the next checkpoint
    root_key: bytes  # that signs the first header of the next life
    boottime: int
    wall: int
    end: str


class LogEntry(NamedTuple):
    """One entry as it was read: where it begins and ends, what it says, and what protects it."""

    start: int
    end: int
    body: bytes
    chain: bytes
    mac: bytes
    sequence: int
    content: bytes  # of a header or a checkpoint
    signature: bytes
    leaves: bytes  # of a checkpoint
    value: LogHeader | LogRecord | Checkpoint


def chain_after(chain: bytes, body: bytes) -> bytes:
    """Return the chain with one entry more."""
    return hashlib.sha256(b"\x02" + chain + body).digest()


def encode_record(sequence: int, record: LogRecord) -> bytes:
    """Return the body of a record, whose strings are plain (see `py`)."""
    flat = [part for pair in record.detail for part in pair]
    return _pack([RECORD, sequence, record.boottime, record.wall, record.kind, record.subject, flat])


def encode_content(value: LogHeader | Checkpoint) -> bytes:
    """Return what is signed of a header or a checkpoint, after the domain and the sequence."""
    return _pack(list(astuple(value)))


def to_sign(value: LogHeader | Checkpoint, sequence: int, content: bytes) -> bytes:
    """Return the bytes under a signature."""
    domain = _HEADER_DOMAIN if isinstance(value, LogHeader) else _CHECKPOINT_DOMAIN
    return domain + sequence.to_bytes(8, "big") + content


def encode_signed(
    sequence: int, value: LogHeader | Checkpoint, content: bytes, signature: bytes, leaves: bytes
) -> bytes:
    """Return the body of a header or a checkpoint."""
    return _pack([HEADER if isinstance(value, LogHeader) else CHECKPOINT, sequence, content, signature, leaves])


def join(body: bytes, chain: bytes, mac: bytes) -> bytes:
    """Return the bytes of an entry."""
    return _LENGTH.pack(len(body)) + body + chain + mac


def read_entry_untrusted(data: bytes | memoryview, start: int) -> LogEntry | None:
    """Return the entry at `start`, None if the data end before it does. Raise PeerError for what is none."""
    if start + _LENGTH.size > len(data):
        return None
    (length,) = _LENGTH.unpack_from(data, start)
    if not 0 < length <= BODY_MAX:
        raise PeerError("length")
    at = start + _LENGTH.size + length
    end = at + 2 * HASH
    if end > len(data):
        return None
    body = bytes(data[start + _LENGTH.size : at])
    return LogEntry(
        start, end, body, bytes(data[at : at + HASH]), bytes(data[at + HASH : end]), *parse_body_untrusted(body)
    )


def parse_body_untrusted(body: bytes) -> tuple[int, bytes, bytes, bytes, LogHeader | LogRecord | Checkpoint]:
    """Return sequence, content, signature, leaves and value of a body. Raise PeerError for what is none."""
    array = _unpack(body, "body")
    if len(array) < 5 or type(array[0]) is not int or type(array[1]) is not int or not 0 < array[1] < _SEQUENCE_MAX:
        raise PeerError("shape")
    kind, sequence = array[0], array[1]
    if kind == RECORD:
        return sequence, b"", b"", b"", _record(array)
    if kind not in (HEADER, CHECKPOINT) or len(array) != 5:
        raise PeerError("type")
    content, signature, leaves = array[2:]
    if any(type(value) is not bytes for value in array[2:]) or len(signature) != 64:
        raise PeerError("shape")
    if kind == HEADER:
        if leaves:
            raise PeerError("shape")
        return sequence, content, signature, leaves, parse_header_untrusted(content)
    point = parse_checkpoint_untrusted(content)
    if len(leaves) % LEAF_BYTES or hashlib.sha256(leaves).digest() != point.leaves_hash:
        raise PeerError("leaves")
    return sequence, content, signature, leaves, point


def _record(array: list[Any]) -> LogRecord:
    if len(array) != 7:
        raise PeerError("shape")
    _, _, boottime, wall, kind, subject, flat = array
    if not _is_time(boottime) or not _is_time(wall) or type(flat) is not list or len(flat) % 2:
        raise PeerError("shape")
    if len(flat) > 2 * PAIRS_MAX or not _is_plain(kind, KIND_MAX) or not _is_plain(subject, SUBJECT_MAX):
        raise PeerError("text")
    names, values = flat[::2], flat[1::2]
    if not all(_is_plain(name, NAME_MAX) for name in names) or not all(map(_is_value, values)):
        raise PeerError("text")
    return LogRecord(boottime, wall, kind, subject, tuple(zip(names, values, strict=True)))


def parse_header_untrusted(content: bytes) -> LogHeader:
    """Return the header in the content of its entry; raise PeerError for what is none."""
    values = _typed(content, LogHeader)
    header = LogHeader(*values)
    if header.version != VERSION:
        raise PeerError("version")
    hashes = (header.root, header.next_key, header.header_key, header.before_chain)
    if len(header.install) != 16 or len(header.boot) != 16 or any(len(value) != HASH for value in hashes):
        raise PeerError("shape")
    if header.before_end not in (NONE, CUT, FINAL) or header.file < 1:
        raise PeerError("shape")
    return header


def parse_checkpoint_untrusted(content: bytes) -> Checkpoint:
    """Return the checkpoint in the content of its entry; raise PeerError for what is none."""
    point = Checkpoint(*_typed(content, Checkpoint))
    if any(
        len(value) != HASH for value in (point.root, point.chain, point.leaves_hash, point.next_key, point.root_key)
    ):
        raise PeerError("shape")
    if point.end not in (OPEN, STOPPED, ROTATED):
        raise PeerError("shape")
    return point


_TYPES: Final = {"int": int, "bytes": bytes, "str": str}


def _typed(content: bytes, kind: type[LogHeader] | type[Checkpoint]) -> list[Any]:
    values = _unpack(content, "content")
    expected = [_TYPES[str(field.type)] for field in fields(kind)]
    if list(map(type, values)) != expected or any(value < 0 for value in values if type(value) is int):
        raise PeerError("shape")
    return values


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value < _SEQUENCE_MAX


def _is_plain(value: Any, limit: int) -> bool:
    return type(value) is str and is_plain(value, limit)


def _is_value(value: Any) -> bool:
    if type(value) is int:
        return abs(value) <= INTEGER_MAX
    return _is_plain(value, VALUE_MAX)


def _pack(array: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(array, use_bin_type=True)
    return packed


def _unpack(data: bytes, what: str) -> list[Any]:
    """Return an array that was written as we write it: one meaning has one form."""
    try:
        array = msgpack.unpackb(data, raw=False, strict_map_key=True)
        if type(array) is list and _pack(array) == data:
            return array
    except Exception as error:  # msgpack raises half a dozen classes
        raise PeerError(what) from error
    raise PeerError(what)


# Text in a record: printable ASCII, escaped, and never long


def is_plain(text: str, limit: int) -> bool:
    """Tell whether a text could have come out of `ascii_only`."""
    return len(text) <= limit and text.isascii() and (text == "" or text.isprintable())


def plain_detail(detail: Detail) -> tuple[tuple[str, str | int], ...]:
    """Return details as they may stand in the log: sorted by name, each escaped and capped, and not too many."""
    pairs = sorted(detail.items())[:PAIRS_MAX]
    return tuple((ascii_only(name, NAME_MAX), _plain(value)) for name, value in pairs)


def _plain(value: str | int) -> str | int:
    if isinstance(value, str):
        return ascii_only(value, VALUE_MAX)
    return max(-INTEGER_MAX, min(int(value), INTEGER_MAX))
