"""The request of one run of a program: its arguments, as a component writes them to the program's own socket.

A program with secrets gets their values in a second block of the same form, behind the request.

    u32 length of all that follows | u16 count | for each argument: u16 length | bytes          (big endian)

No privileged process reads it: the launcher does, in the new process, after it has given up everything. What comes
behind the request is the program's standard input. So the launcher reads not one byte more than the length says.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tlsrt.config.argument_patterns import ARGUMENT_BYTES_MOST, ARGUMENTS_BYTES_MOST, ARGUMENTS_MOST
from tlsrt.errors import InvalidArgument, PeerError

SPOKEN_MARK = b"\0"  # what its launcher writes to standard error, with the descriptors of output by name
LENGTH = struct.Struct(">I")
_COUNT = struct.Struct(">H")
REQUEST_MOST = _COUNT.size + ARGUMENTS_MOST * _COUNT.size + ARGUMENTS_BYTES_MOST


def encode_request(arguments: Sequence[bytes]) -> bytes:
    """Return the bytes of a request. Raises InvalidArgument for what no program may be given."""
    if len(arguments) > ARGUMENTS_MOST or sum(map(len, arguments)) > ARGUMENTS_BYTES_MOST:
        raise InvalidArgument(f"at most {ARGUMENTS_MOST} arguments of together {ARGUMENTS_BYTES_MOST} bytes")
    if any(len(one) > ARGUMENT_BYTES_MOST or b"\0" in one for one in arguments):
        raise InvalidArgument(f"an argument has at most {ARGUMENT_BYTES_MOST} bytes, and no null byte")
    return _packed(arguments)


def encode_secrets(values: Sequence[bytes]) -> bytes:
    """Return the bytes that follow a request of a program with secrets. Raises InvalidArgument for too long ones."""
    if sum(map(len, values)) > ARGUMENTS_BYTES_MOST or any(len(one) > ARGUMENT_BYTES_MOST for one in values):
        raise InvalidArgument(f"a program gets at most {ARGUMENTS_BYTES_MOST} bytes of secrets, and of each a quarter")
    return _packed(values)


def _packed(arguments: Sequence[bytes]) -> bytes:
    body = _COUNT.pack(len(arguments)) + b"".join(_COUNT.pack(len(one)) + one for one in arguments)
    return LENGTH.pack(len(body)) + body


def request_length_untrusted(head: bytes) -> int:
    """Return how many bytes follow the first four. Raises PeerError for more than a request can have."""
    if len(head) != LENGTH.size:
        raise PeerError("truncated")
    (length,) = LENGTH.unpack(head)
    if not _COUNT.size <= length <= REQUEST_MOST:
        raise PeerError("bad_length")
    return int(length)


def decode_request_untrusted(body: bytes) -> list[bytes]:
    """Return the arguments in what follows the length. Raises PeerError, and nothing else."""
    if len(body) < _COUNT.size:
        raise PeerError("truncated")
    (count,) = _COUNT.unpack_from(body)
    if count > ARGUMENTS_MOST:
        raise PeerError("too_many")
    arguments: list[bytes] = []
    at = _COUNT.size
    for _ in range(count):
        if len(body) - at < _COUNT.size:
            raise PeerError("truncated")
        (length,) = _COUNT.unpack_from(body, at)
        at += _COUNT.size
        if len(body) - at < length:
            raise PeerError("truncated")
        arguments.append(body[at : at + length])
        at += length
    if at != len(body):
        raise PeerError("trailing_bytes")
    return arguments
