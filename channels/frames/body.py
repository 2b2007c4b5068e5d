"""What is inside a sealed body: msgpack values, bounded on the way in and on the way out. Pure.

Request: `[[argument, ...], {name: argument, ...}, key]`, where key is nil, an idempotency key, such a key with the
incarnation that may have run it, or a deferral (deferral.py); reply and item: one value; error: `[code, message]`;
credit and allow: one number; cancel and the last item of a stream: empty; a bundle: an array of requests or of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgpack

from tlsrt.channels.frames.deferral import Deferral, deferral_untrusted
from tlsrt.channels.frames.frame import BODY_MAX
from tlsrt.channels.frames.structure import DEPTH_MAX, StructureError, check_packed, unpack_untrusted
from tlsrt.errors import CallError, InvalidArgument, PeerError, call_error

T = TypeVar("T")

CREDIT_MAX = 1 << 16
_NUMBER_BYTES = 9  # the longest number of msgpack
_SCALARS = frozenset((bytes, str, int, float, bool, type(None)))
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


def pack_value(value: object) -> bytes:
    """Return a value as bytes. Raise StructureError for one that no reader would take."""
    packed = _packed(value)
    if type(value) not in _SCALARS:
        check_packed(packed)
    return packed


class PackedList(list[T]):
    """A list whose items are packed already: packing them again would be most of the work of a call that gives them."""

    def __init__(self, items: Iterable[tuple[T, bytes]]) -> None:
        pairs = list(items)
        super().__init__(item for item, _ in pairs)
        self.packed = join_bodies([packed for _, packed in pairs])[1]


def _packed(value: object) -> bytes:
    try:
        packed: bytes = value.packed if type(value) is PackedList else _pack(value)
    except Exception as error:  # a value may be of a class that runs code of its own
        raise StructureError(f"it holds what is no data ({_short(error)})") from error
    if len(packed) > BODY_MAX:
        raise StructureError(f"its {len(packed)} bytes do not fit one message of {BODY_MAX}: use a stream")
    return packed


def encode_value(value: object) -> bytes:
    """Return a value as bytes. Raise InvalidArgument if it is no data, or out of its bounds."""
    try:
        return pack_value(value)
    except StructureError as error:
        raise InvalidArgument(f"cannot send a value of type {type(value).__name__}: {error}") from error


def decode_value_untrusted(body: bytes) -> Any:
    """Return the value; raise PeerError for anything that is not exactly one, within its bounds."""
    try:
        return unpack_untrusted(body)
    except StructureError as error:
        raise PeerError("bad_body") from error


def join_bodies(bodies: Sequence[bytes]) -> tuple[int, bytes]:
    """Return how many there are, and the body of a bundle: an array of what each would hold alone."""
    count = len(bodies)
    head = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return count, head + b"".join(bodies)


def decode_bundle_untrusted(body: bytes, count: int) -> list[Any]:
    """Return the values of a bundle; raise PeerError for anything that is not exactly so many."""
    try:
        values = unpack_untrusted(body, DEPTH_MAX + 1)
    except StructureError as error:
        raise PeerError("bad_body") from error
    if type(values) is not list or len(values) != count:
        raise PeerError("bad_body")
    return values


def encode_request(args: Sequence[object], kwargs: Mapping[str, object], key: str | tuple[object, ...] | None) -> bytes:
    """Return a request. `key` is its idempotency key, of a repetition with the incarnation that may have run it."""
    plain = args if type(args) is tuple or type(args) is list else list(args)
    try:
        packed = _packed((plain, kwargs if type(kwargs) is dict else dict(kwargs), key))
        if not kwargs:
            for arg in plain:
                if type(arg) not in _SCALARS:
                    break
            else:
                return packed
        check_packed(packed)
        return packed
    except StructureError as error:
        raise InvalidArgument(f"cannot send the arguments: {error}") from error


def decode_request_untrusted(body: bytes) -> tuple[list[Any], dict[str, Any], str | Deferral | None, int | None]:
    """Return (args, kwargs, idempotency key or deferral, incarnation that may have run it); raise PeerError."""
    return request_untrusted(decode_value_untrusted(body))


def request_untrusted(value: Any) -> tuple[list[Any], dict[str, Any], str | Deferral | None, int | None]:
    """Return the same of a decoded request; raise PeerError."""
    if type(value) is not list or len(value) != 3:
        raise PeerError("bad_body")
    args, kwargs, key = value
    if type(args) is not list or type(kwargs) is not dict or (kwargs and not all(type(name) is str for name in kwargs)):
        raise PeerError("bad_body")
    if key is None:
        return args, kwargs, None, None
    tried = None
    if type(key) is list:
        if len(key) != 2 or type(key[1]) is not int:
            return args, kwargs, deferral_untrusted(key), None
        key, tried = key
        if tried < 0:
            raise PeerError("bad_body")
    if not (type(key) is str and 0 < len(key) <= 128):
        raise PeerError("bad_body")
    return args, kwargs, key, tried


def encode_error(error: CallError) -> bytes:
    """Return the error for a peer. Cannot fail, whatever a component has put into it."""
    return encode_value([_text(error.code, "failed")[:64], _text(error.message, "it failed")[:1000]])


def _text(value: object, instead: str) -> str:
    """Return a text that UTF-8 can hold."""
    try:
        return str(value).encode("utf-8", "replace").decode()
    except BaseException:  # what a component raises may be anything
        return instead


def _short(error: Exception) -> str:
    return _text(error, "")[:200] or type(error).__name__


def decode_error_untrusted(body: bytes) -> CallError:
    """Return the error a peer reports; raise PeerError."""
    value = decode_value_untrusted(body)
    if not (isinstance(value, list) and len(value) == 2 and all(type(item) is str for item in value)):
        raise PeerError("bad_body")
    return call_error(value[0][:64], value[1][:1000])


def decode_count_untrusted(body: bytes) -> int:
    """Return a credit; raise PeerError."""
    value = decode_value_untrusted(body) if len(body) <= _NUMBER_BYTES else None
    if type(value) is not int or not 0 <= value <= CREDIT_MAX:
        raise PeerError("bad_body")
    return value
