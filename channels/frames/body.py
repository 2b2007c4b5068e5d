"""What is inside a sealed body: msgpack values, bounded on the way in. Pure.

Request: `[[argument, ...], {name: argument, ...}, key]`, where key is nil, an idempotency key, or such a key with the
incarnation that may have run it; reply and item: one value; error: `[code, message]`; credit and allow: one number;
cancel and the last item of a stream: empty; a bundle: an array of requests or of values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from tlsrt.channels.frames.frame import BODY_MAX
from tlsrt.errors import CallError, InvalidArgument, PeerError, call_error

CREDIT_MAX = 1 << 16
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


def encode_value(value: object) -> bytes:
    """Return a value as bytes. Raise InvalidArgument if it is not data, or too large for one frame."""
    try:
        packed: bytes = _pack(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"cannot send a value of type {type(value).__name__}: {error}") from error
    if len(packed) > BODY_MAX:
        raise InvalidArgument(f"{len(packed)} bytes do not fit one message of {BODY_MAX}: use a stream")
    return packed


def _refuse(code: int, data: bytes) -> Any:
    raise ValueError("no extension types travel, not even empty ones")


def decode_value_untrusted(body: bytes) -> Any:
    """Return the value; raise PeerError for anything that is not exactly one."""
    try:
        return msgpack.unpackb(body, raw=False, strict_map_key=False, max_ext_len=0, ext_hook=_refuse)
    except Exception as error:  # msgpack raises half a dozen classes, StackError for deep nesting among them
        raise PeerError("bad_body") from error


def join_bodies(bodies: Sequence[bytes]) -> tuple[int, bytes]:
    """Return how many there are, and the body of a bundle: an array of what each would hold alone."""
    count = len(bodies)
    head = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return count, head + b"".join(bodies)


def decode_bundle_untrusted(body: bytes, count: int) -> list[Any]:
    """Return the values of a bundle; raise PeerError for anything that is not exactly so many."""
    values = decode_value_untrusted(body)
    if type(values) is not list or len(values) != count:
        raise PeerError("bad_body")
    return values


def encode_request(args: Sequence[object], kwargs: Mapping[str, object], key: str | tuple[str, int] | None) -> bytes:
    """Return a request. `key` is its idempotency key, of a repetition with the incarnation that may have run it."""
    plain = args if type(args) in (list, tuple) else list(args)
    return encode_value((plain, kwargs if type(kwargs) is dict else dict(kwargs), key))


def decode_request_untrusted(body: bytes) -> tuple[list[Any], dict[str, Any], str | None, int | None]:
    """Return (args, kwargs, idempotency key, incarnation that may have run it); raise PeerError."""
    return request_untrusted(decode_value_untrusted(body))


def request_untrusted(value: Any) -> tuple[list[Any], dict[str, Any], str | None, int | None]:
    """Return the same of a decoded request; raise PeerError."""
    if type(value) is not list or len(value) != 3:
        raise PeerError("bad_body")
    args, kwargs, key = value
    if type(args) is not list or type(kwargs) is not dict or (kwargs and not all(type(name) is str for name in kwargs)):
        raise PeerError("bad_body")
    if key is None:
        return args, kwargs, None, None
    tried = None
    if type(key) is list and len(key) == 2:
        key, tried = key
        if type(tried) is not int or tried < 0:
            raise PeerError("bad_body")
    if not (type(key) is str and 0 < len(key) <= 128):
        raise PeerError("bad_body")
    return args, kwargs, key, tried


def encode_error(error: CallError) -> bytes:
    return encode_value([error.code, error.message[:1000]])


def decode_error_untrusted(body: bytes) -> CallError:
    """Return the error a peer reports; raise PeerError."""
    value = decode_value_untrusted(body)
    if not (isinstance(value, list) and len(value) == 2 and all(type(item) is str for item in value)):
        raise PeerError("bad_body")
    return call_error(value[0][:64], value[1][:1000])


def decode_count_untrusted(body: bytes) -> int:
    """Return a credit; raise PeerError."""
    value = decode_value_untrusted(body)
    if type(value) is not int or not 0 <= value <= CREDIT_MAX:
        raise PeerError("bad_body")
    return value
