"""Frames between a component and its worker: what goes over the pair of sockets that joins them. Pure.

    u8 kind | u32 length of the structure | u32 length of the blobs | structure | blobs          (big endian)

A structure is one msgpack value, `[value, [[path, length], ...]]`: large bytes of the value are taken out of it, and
lie behind it one after the other; where they were is nil. So what has to be built from the other side's words is small,
and what is large is copied and not looked at. A part of an upload is a blob without a structure.

One call runs at a time, so frames have no numbers. A worker that waits for a call leaves out all else: parts that were
not wanted any more, and a cancel that came too late.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgpack

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.errors import InvalidArgument, PeerError

HEAD = struct.Struct(">BII")
STRUCTURE_MAX = 512 * 1024  # of which msgpack can build some 13 MB
BLOBS_MAX = 64 << 20  # in one frame; more goes in parts
PART_MAX = 256 * 1024
TEXT_MAX = 1000  # characters of an error
METHODS_MAX = 256
_LARGE = 4096  # bytes from which on a value is a blob
_DEPTH_MAX = 32

_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class Kind(IntEnum):
    """Kinds of frames; those from 16 on come from the worker."""

    CALL = 1  # [method, arguments, arguments by name, whether parts follow]
    PART = 2
    PARTS_END = 3
    CANCEL = 4
    HELLO = 16  # {method: [is a stream, takes parts]}
    ITEM = 17
    RESULT = 18  # ends a call
    END = 19  # ends a stream
    ERROR = 20  # ends both: [code of a CallError or "", class, message]


_WITHOUT_STRUCTURE = frozenset((Kind.PART, Kind.PARTS_END, Kind.CANCEL, Kind.END))
_KINDS = {int(kind): kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class WorkerFrame:
    """One frame; `value` of a part are its bytes."""

    kind: Kind
    value: Any = None


def encode_frame(kind: Kind, value: object = None) -> list[bytes]:
    """Return a frame in pieces, of which the large ones are not copied. Raises InvalidArgument for what has no room."""
    if kind is Kind.PART:
        assert isinstance(value, bytes)
        return [HEAD.pack(kind, 0, len(value)), value]
    if kind in _WITHOUT_STRUCTURE:
        return [HEAD.pack(kind, 0, 0)]
    blobs: list[tuple[list[int | str], bytes]] = []
    plain = _without_blobs(value, [], blobs, _DEPTH_MAX)
    try:
        structure: bytes = _pack([plain, [[path, len(blob)] for path, blob in blobs]])
    except Exception as error:  # msgpack raises half a dozen classes
        raise InvalidArgument(
            f"cannot send a value of type {type(value).__name__}: it holds what is no data"
        ) from error
    size = sum(len(blob) for _, blob in blobs)
    if len(structure) > STRUCTURE_MAX or size > BLOBS_MAX:
        sizes = f"{len(structure)} bytes of {STRUCTURE_MAX}, and large ones of {size} bytes of {BLOBS_MAX}"
        raise InvalidArgument(f"cannot send so much at once: {sizes}; use a stream")
    try:
        unpack_untrusted(structure, _DEPTH_MAX + 4)  # what its reader refuses ends the process
    except StructureError as error:
        raise InvalidArgument(f"cannot send a value of type {type(value).__name__}: {error}") from error
    return [HEAD.pack(kind, len(structure), size) + structure, *(blob for _, blob in blobs)]


def _without_blobs(value: object, path: list[int | str], blobs: list[tuple[list[int | str], bytes]], depth: int) -> Any:
    if type(value) is bytes and len(value) >= _LARGE:
        blobs.append((path, value))
        return None
    if isinstance(value, dict | list | tuple) and depth == 0:
        raise InvalidArgument(f"cannot send a value that is nested more than {_DEPTH_MAX} deep, or holds itself")
    if isinstance(value, dict):
        plain: dict[Any, Any] = {}
        for key, one in value.items():
            before = len(blobs)
            plain[key] = _without_blobs(one, [*path, key], blobs, depth - 1)
            if len(blobs) > before and not isinstance(key, str):
                raise InvalidArgument("cannot send large bytes in a map below a key that is no str")
        return plain
    if isinstance(value, list | tuple):
        return [_without_blobs(one, [*path, at], blobs, depth - 1) for at, one in enumerate(value)]
    return value


class WorkerFrames:
    """Takes bytes as they come, and gives frames. What comes may be anything: raises PeerError, and nothing else."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def wanted(self) -> int:
        """Return how many bytes are missing at least until the next frame is whole."""
        return max(1, self._end_untrusted() - len(self._data))

    def feed(self, data: bytes) -> None:
        """Take bytes. No more are kept than a frame may have, if frames are asked for before more is fed."""
        self._data += data

    def next_untrusted(self) -> WorkerFrame | None:
        """Return the next frame, None if it is not whole yet. Raises PeerError at the head of one that is too large."""
        end = self._end_untrusted()
        if len(self._data) < end or end == 0:
            return None
        with memoryview(self._data) as view:
            kind, length, _ = HEAD.unpack_from(view)
            at = HEAD.size + length
            structure, blobs = bytes(view[HEAD.size : at]), bytes(view[at:end])
        del self._data[:end]
        return _frame_untrusted(_KINDS[kind], structure, blobs)

    def _end_untrusted(self) -> int:
        """Return where the next frame ends, as far as is known."""
        if len(self._data) < HEAD.size:
            return HEAD.size if self._data else 0
        kind, length, blobs = HEAD.unpack_from(self._data)
        if kind not in _KINDS:
            raise PeerError("unknown_kind")
        most = PART_MAX if kind == Kind.PART else 0 if kind in _WITHOUT_STRUCTURE else BLOBS_MAX
        if length > (0 if kind in _WITHOUT_STRUCTURE else STRUCTURE_MAX) or blobs > most:
            raise PeerError("oversize")
        return int(HEAD.size + length + blobs)


def _frame_untrusted(kind: Kind, structure: bytes, blobs: bytes) -> WorkerFrame:
    if kind is Kind.PART:
        return WorkerFrame(kind, blobs)
    if kind in _WITHOUT_STRUCTURE:
        return WorkerFrame(kind)
    try:
        found = unpack_untrusted(structure, _DEPTH_MAX + 4)
    except StructureError as error:
        raise PeerError("bad_body") from error
    if type(found) is not list or len(found) != 2 or type(found[1]) is not list:
        raise PeerError("bad_body")
    value, places = found
    at = 0
    for place in places:
        if type(place) is not list or len(place) != 2 or type(place[0]) is not list or type(place[1]) is not int:
            raise PeerError("bad_body")
        path, length = place
        if not 0 <= length <= len(blobs) - at:
            raise PeerError("bad_body")
        value = _with_blob_untrusted(value, path, blobs[at : at + length])
        at += length
    if at != len(blobs):
        raise PeerError("trailing_bytes")
    return WorkerFrame(kind, value)


def _with_blob_untrusted(value: Any, path: list[Any], blob: bytes) -> Any:
    """Put a blob where its path says; there must be nil."""
    if not path:
        if value is not None:
            raise PeerError("bad_body")
        return blob
    inside = value
    for depth, key in enumerate(path):
        is_index = type(inside) is list and type(key) is int and 0 <= key < len(inside)
        if not is_index and not (type(inside) is dict and type(key) is str and key in inside):
            raise PeerError("bad_body")
        if depth < len(path) - 1:
            inside = inside[key]
        elif inside[key] is None:
            inside[key] = blob
        else:
            raise PeerError("bad_body")
    return value


def parts_in(data: bytes) -> Iterator[bytes]:
    """Cut bytes so that each piece fits one part."""
    yield from (data[at : at + PART_MAX] for at in range(0, len(data), PART_MAX))


def methods_untrusted(value: object) -> dict[str, tuple[bool, bool]]:
    """Return what a worker offers: name -> (is a stream, takes parts). Raises PeerError."""
    if type(value) is not dict or len(value) > METHODS_MAX:
        raise PeerError("bad_body")
    found: dict[str, tuple[bool, bool]] = {}
    for name, facts in value.items():
        if type(name) is not str or type(facts) is not list or [type(one) for one in facts] != [bool, bool]:
            raise PeerError("bad_body")
        found[name] = (facts[0], facts[1])
    return found


def call_untrusted(value: object) -> tuple[str, list[Any], dict[str, Any], bool]:
    """Return the method, the arguments, those by name, and whether parts follow. Raises PeerError."""
    if type(value) is not list or [type(one) for one in value] != [str, list, dict, bool]:
        raise PeerError("bad_body")
    method, args, kwargs, has_parts = value
    return method, args, kwargs, has_parts


def error_untrusted(value: object) -> Sequence[str]:
    """Return the code, the class and the message of an error. Raises PeerError."""
    if type(value) is not list or [type(one) for one in value] != [str, str, str]:
        raise PeerError("bad_body")
    return [one[:TEXT_MAX] for one in value]
