"""A host's backup as a component may have it: sealed under a key of the host's master_key, piece by piece.

    tlsrt sealed host backup 1\n  {install, made, salt}\n  (length, u32 big-endian; sealed piece)*  0, u32

Each piece is AES-256-GCM (RFC 5116). The key is of this archive alone: HKDF of the authority's root and the salt, 16
random bytes. The nonce is the number of the piece and whether it is the last one, so pieces can neither be changed,
left out, doubled, put in another order nor cut off at the end (STREAM, Hoang and others 2015); the first two lines are
bound to each. Who can make a piece has the key, so what opens was written by this host. The length of 0 tells those
that cannot open it that it was written to its end.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.errors import ConfigError

SEALED_MAGIC = b"tlsrt sealed host backup 1\n"
SALT_BYTES = 16
PIECE = 128 * 1024
_TAG = 16
_LENGTH = struct.Struct(">I")
_LINE_MOST = 1024


@dataclass(frozen=True, slots=True)
class SealedHead:
    """What a sealed archive says of itself in the clear: the installation, when it was made, and its salt."""

    install: str
    made: str
    salt: str


def seal(plain: BinaryIO, key: bytes, head: SealedHead, put: Callable[[bytes], object]) -> None:
    """Put all of a file from where it stands, sealed. Raises OSError."""
    first = SEALED_MAGIC + json.dumps(asdict(head)).encode() + b"\n"
    cipher = AESGCM(key)
    put(first)
    data, number = plain.read(PIECE), 0
    while True:
        following = plain.read(PIECE)
        sealed = cipher.encrypt(_nonce(number, is_last=not following), data, first)
        put(_LENGTH.pack(len(sealed)) + sealed)
        if not following:
            break
        data, number = following, number + 1
    put(_LENGTH.pack(0))


def is_sealed(file: BinaryIO) -> bool:
    """Tell whether a file says that it is a sealed archive; it stands at its beginning then."""
    file.seek(0)
    found = file.read(len(SEALED_MAGIC)) == SEALED_MAGIC
    file.seek(0)
    return found


def read_sealed_head_untrusted(file: BinaryIO, name: str) -> SealedHead:
    """Return what a sealed archive says of itself, which nothing has confirmed. Raises ConfigError."""
    return _head_untrusted(file, name)[0]


def check_whole_untrusted(file: BinaryIO, name: str) -> None:
    """Look at the lengths of all pieces: that it was written to its end. Raises ConfigError."""
    _head_untrusted(file, name)
    while size := _size_untrusted(file, name):
        if len(file.read(size)) != size:
            raise _cut_off(name)
    if file.read(1):
        raise _damaged(name)


def open_sealed_untrusted(file: BinaryIO, name: str, keys: Iterable[bytes], out: BinaryIO) -> None:
    """Write what is sealed to a file, and put that at its beginning; `keys` are those that it may be sealed under.

    Raises ConfigError for anything that none of them has sealed whole, with part of it in the file; OSError.
    """
    _, first = _head_untrusted(file, name)
    ciphers, number, is_last = [AESGCM(key) for key in keys], 0, False
    while size := _size_untrusted(file, name):
        sealed = file.read(size)
        if len(sealed) != size:
            raise _cut_off(name)
        found = None if is_last else _opened(ciphers, number, sealed, first)
        if found is None:
            raise _damaged(name)
        cipher, is_last, data = found
        ciphers, number = [cipher], number + 1
        out.write(data)
    if not is_last:
        raise _cut_off(name)
    if file.read(1):
        raise _damaged(name)
    out.flush()
    out.seek(0)


def _opened(
    ciphers: Iterable[AESGCM], number: int, sealed: bytes, first: bytes
) -> tuple[AESGCM, bool, bytes] | None:  # fmt: skip
    for cipher in ciphers:
        for is_last in (False, True):
            try:
                return cipher, is_last, cipher.decrypt(_nonce(number, is_last=is_last), sealed, first)
            except InvalidTag:
                continue
    return None


def _head_untrusted(file: BinaryIO, name: str) -> tuple[SealedHead, bytes]:
    file.seek(0)
    magic, line = file.read(len(SEALED_MAGIC)), file.readline(_LINE_MOST)
    try:
        tree = json.loads(line)
        head = SealedHead(str(tree["install"]), str(tree["made"]), str(tree["salt"]))
        sizes = len(bytes.fromhex(head.install)), len(bytes.fromhex(head.salt))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _damaged(name) from None
    if magic != SEALED_MAGIC or not line.endswith(b"\n") or sizes != (16, SALT_BYTES):
        raise _damaged(name)
    return head, magic + line


def _size_untrusted(file: BinaryIO, name: str) -> int:
    length = file.read(_LENGTH.size)
    if len(length) != _LENGTH.size:
        raise _cut_off(name)
    size: int = _LENGTH.unpack(length)[0]
    if size and not _TAG <= size <= PIECE + _TAG:
        raise _damaged(name)
    return size


def _cut_off(name: str) -> ConfigError:
    return ConfigError(f"{name} was cut off, or never written to its end: take another backup")


def _damaged(name: str) -> ConfigError:
    return ConfigError(
        f"{name} is damaged, or was sealed under another master_key: take another backup, or give the right keys"
    )


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
