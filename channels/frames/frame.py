"""Frames: what one message looks like on every channel. Pure.

A frame is `msgpack([header, token, body, proof])`, all bin; the header is itself a positional msgpack array, kept as
the bytes that were received because body and proof authenticate exactly these bytes. A ZeroMQ message is a frame, or
a batch `msgpack([1, frame, frame, ...])` of frames that waited for the same loop anyway; every frame in it is checked
by itself. PROTOCOL.md describes each field.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

import msgpack

from tlsrt.errors import MisuseError, PeerError

VERSION = 1
SESSION_BYTES = 16
TAG_BYTES = 16
CORRELATION_BYTES = 24  # session id | seq, u64 BE
TRACE_MAX = 153  # of a traced request in its place: see trace.py
NAME_MAX = 80  # "loop/component" and method names, characters
HEADER_MAX = 512
TOKEN_MAX = 16 * 1024  # a client that may call everything on a host with hundreds of components
BODY_MAX = 256 * 1024  # plaintext; larger bodies go as streams
FRAME_MAX = BODY_MAX + TAG_BYTES + HEADER_MAX + TOKEN_MAX + TAG_BYTES + 32
MESSAGE_MAX = 2 * FRAME_MAX
BATCH_FRAME_MAX = 8 * 1024  # measured: coalescing larger frames costs more in copies than it saves in wake-ups
BATCH_BYTES_MAX = 128 * 1024
BATCH_FRAMES_MAX = 256
BUNDLE_MAX = 32  # requests, or replies, that are sealed together
BUNDLE_BYTES_MAX = 64 * 1024  # of their bodies
DEADLINE_MAX_MS = 300_000
SEQ_MAX = 1 << 32
_U64 = 1 << 64

FLAG_FINAL = 1  # the last part of a stream
FLAG_UPLOAD = 2  # a request whose body goes on in PART frames
FLAG_STREAM = 4  # a request that expects items


class FrameKind(IntEnum):
    """What a frame is. Bodies are sealed with the request key going out and with the reply key coming back."""

    REQUEST = 1  # request key
    REPLY = 2  # reply key
    ITEM = 3  # reply key; one part of a result stream
    ERROR = 4  # reply key; [code, message]
    CANCEL = 5  # request key
    CREDIT = 6  # request key; so many more items may come, and the stream lives on until this deadline
    PART = 7  # request key; one part of an upload
    REFUSAL = 8  # the gate's own word, unsealed: proves nothing about execution
    ALLOW = 9  # reply key; so many more parts may come
    REQUESTS = 16  # between loops: as many requests as `part` says, alike and sealed together; `seq` is the last one's
    REPLIES = 17  # between loops: as many replies, their correlation is `session 16 | (seq u64) ...`


FROM_REQUESTER = frozenset({FrameKind.REQUEST, FrameKind.REQUESTS, FrameKind.CANCEL, FrameKind.CREDIT, FrameKind.PART})
FROM_REPLIER = frozenset({FrameKind.REPLY, FrameKind.REPLIES, FrameKind.ITEM, FrameKind.ERROR, FrameKind.ALLOW})
_REQUEST, _REQUESTS, _REPLIES = int(FrameKind.REQUEST), int(FrameKind.REQUESTS), int(FrameKind.REPLIES)
BUNDLES = frozenset({FrameKind.REQUESTS, FrameKind.REPLIES})
_NUMBERED = frozenset({FrameKind.ITEM, FrameKind.PART, FrameKind.REFUSAL}) | BUNDLES  # the others have part 0
_KINDS = {int(kind): kind for kind in FrameKind}


class Header(NamedTuple):
    """The positional header; times are CLOCK_BOOTTIME of the host in ms."""

    version: int
    kind: int
    session: bytes  # of the sender
    seq: int  # one counter per session, over all destinations and kinds
    part: int
    src: str
    dst: str
    mailbox: int  # incarnation whose mailbox root the body's key comes from
    gate: int  # incarnation of the gate that the proof is for
    method: str
    epoch: int
    deadline: int
    correlation: bytes  # empty, or session id | seq of the request that this belongs to; of a REQUEST, its trace
    flags: int


_HEADER_TYPES = (int, int, bytes, int, int, str, str, int, int, str, int, int, bytes, int)
_FRAME_TYPES = (bytes, bytes, bytes, bytes)
_COPIED = 16 * 1024  # measured: the packer copies a body twice, which costs less up to here than joining the parts
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_unpack = msgpack.unpackb
_iter_numbers = Struct("8s").iter_unpack
_new = tuple.__new__  # a named tuple from a checked tuple; `_make` checks the length once more


class Frame(NamedTuple):
    """The four parts, as received."""

    header: bytes
    token: bytes
    body: bytes
    proof: bytes


def correlation(session: bytes, seq: int) -> bytes:
    """Return the name of one request: its session id and seq."""
    return session + seq.to_bytes(8, "big")


def names_in(correlation: bytes) -> list[bytes]:
    """Return the names of requests in the correlation of a REPLIES frame: `session 16 | seq u64 ...`."""
    session = correlation[:SESSION_BYTES]
    return [session + number for (number,) in _iter_numbers(correlation[SESSION_BYTES:])]


def names_of(header: Header) -> list[bytes]:
    """Return the names of the requests that a REQUEST or REQUESTS frame holds or a REPLIES frame answers, in order."""
    if header.kind == _REPLIES:
        return names_in(header.correlation)
    return [correlation(header.session, seq) for seq in range(header.seq - max(1, header.part) + 1, header.seq + 1)]


def nonce(seq: int) -> bytes:
    """Return the AES-GCM nonce of a frame: 4 zero bytes | seq."""
    return seq.to_bytes(12, "big")


def proof_data(header: bytes, token: bytes, body: bytes) -> bytes:
    """Return what a proof authenticates: header, token and the body's tag, each unmistakably delimited."""
    return b"".join((len(header).to_bytes(4, "big"), header, len(token).to_bytes(4, "big"), token, body[-TAG_BYTES:]))


def pack_header(header: Header) -> bytes:
    packed: bytes = _pack(header)
    return packed


def pack_frame(header: bytes, token: bytes, body: bytes, proof: bytes) -> bytes:
    if len(body) > _COPIED:
        mark = b"\xc5" + len(body).to_bytes(2, "big") if len(body) < 1 << 16 else b"\xc6" + len(body).to_bytes(4, "big")
        return b"".join((b"\x94", _pack(header), _pack(token), mark, body, _pack(proof)))
    packed: bytes = _pack((header, token, body, proof))
    return packed


def parse_frame_untrusted(data: bytes) -> Frame:
    """Return the parts of a frame; raise PeerError for anything else."""
    if len(data) > FRAME_MAX:
        raise PeerError("oversize")
    parts = _unpack_untrusted(data)
    if type(parts) is not tuple or tuple(map(type, parts)) != _FRAME_TYPES:
        raise PeerError("not_a_frame")
    header, token, body, _ = parts
    if len(header) > HEADER_MAX or len(token) > TOKEN_MAX or len(body) > BODY_MAX + TAG_BYTES:
        raise PeerError("oversize")
    return _new(Frame, parts)


def parse_header_untrusted(data: bytes) -> Header:
    """Return a header of this version; raise PeerError for anything else."""
    fields = _unpack_untrusted(data)
    if type(fields) is not tuple or not fields:
        raise PeerError("not_a_header")
    if fields[0] != VERSION or type(fields[0]) is not int:
        raise PeerError("unknown_version")
    if tuple(map(type, fields)) != _HEADER_TYPES:
        raise PeerError("not_a_header")
    _, kind, session, seq, part, src, dst, mailbox, gate, method, epoch, deadline, corr, flags = fields
    if kind not in _KINDS:
        raise PeerError("unknown_kind")
    if part and kind not in _NUMBERED:
        raise PeerError("out_of_range")
    if kind >= _REQUESTS:
        _check_bundle_untrusted(kind, seq, part, len(corr), flags)
    elif len(corr) not in (0, CORRELATION_BYTES) and not (
        kind == _REQUEST and CORRELATION_BYTES < len(corr) <= TRACE_MAX
    ):
        raise PeerError("not_a_header")
    if len(session) != SESSION_BYTES:
        raise PeerError("not_a_header")
    if len(src) > NAME_MAX or len(dst) > NAME_MAX or len(method) > NAME_MAX:
        raise PeerError("name_too_long")
    if (
        seq < 0
        or part < 0
        or mailbox < 0
        or gate < 0
        or epoch < 0
        or deadline < 0
        or not 0 <= flags <= 7
        or seq > SEQ_MAX
    ):
        raise PeerError("out_of_range")
    return _new(Header, fields)


def _check_bundle_untrusted(kind: int, seq: int, count: int, correlation_bytes: int, flags: int) -> None:
    """Raise PeerError unless a bundle has 2 to 32 numbers from 1 on, and names as many as it says."""
    if not 2 <= count <= BUNDLE_MAX or flags or (kind == _REQUESTS and seq < count):
        raise PeerError("out_of_range")
    if correlation_bytes != (0 if kind == _REQUESTS else SESSION_BYTES + 8 * count):
        raise PeerError("not_a_header")


def _unpack_untrusted(data: bytes) -> Any:
    """Decode one msgpack object without maps, extensions or large arrays.

    The limits are checked by msgpack before it allocates: an array header that claims 4 G elements costs nothing.
    """
    try:
        return _unpack(
            data, use_list=False, raw=False, max_array_len=1 + BATCH_FRAMES_MAX, max_map_len=0, max_ext_len=0
        )
    except Exception as error:  # ValueError, UnpackException, StackError, UnicodeError...: all mean the same
        raise PeerError("not_msgpack") from error


def split_message_untrusted(data: bytes) -> Sequence[bytes]:
    """Return the frames of one ZeroMQ message, unparsed. Raise PeerError if it is neither a frame nor a batch."""
    if data[:1] == b"\x94" and data[1:2] != b"\x01":  # a four-element array that does not start with the integer 1
        return (data,)
    if len(data) > MESSAGE_MAX:
        raise PeerError("oversize")
    parts = _unpack_untrusted(data)
    if type(parts) is not tuple or len(parts) < 2 or type(parts[0]) is not int or parts[0] != 1:
        raise PeerError("not_a_message")
    frames = parts[1:]
    if any(type(frame) is not bytes for frame in frames):
        raise PeerError("not_a_message")
    return frames


def first_message(frames: Iterable[bytes]) -> tuple[bytes, int]:
    """Return the next ZeroMQ message for frames that go to the same loop, and how many it holds, from 1 on.

    Small neighbours share one. There has to be a frame.
    """
    batch: list[bytes] = []
    size = 0
    for frame in frames:
        size += len(frame)
        if batch and (len(frame) > BATCH_FRAME_MAX or size > BATCH_BYTES_MAX or len(batch) == BATCH_FRAMES_MAX):
            break
        batch.append(frame)
        if len(frame) > BATCH_FRAME_MAX:
            break
    return (batch[0] if len(batch) == 1 else _pack((1, *batch))), len(batch)


def join_messages(frames: Iterable[bytes]) -> list[bytes]:
    """Return the ZeroMQ messages for frames that go to the same loop, in order. Small neighbours share one."""
    waiting = deque(frames)
    messages: list[bytes] = []
    while waiting:
        message, count = first_message(waiting)
        messages.append(message)
        for _ in range(count):
            waiting.popleft()
    return messages


def check_name(name: str) -> str:
    """Return a name that fits a header, or raise MisuseError."""
    if not 0 < len(name) <= NAME_MAX:
        raise MisuseError(f"a name has 1 to {NAME_MAX} characters: {name[:100]!r}")
    return name
