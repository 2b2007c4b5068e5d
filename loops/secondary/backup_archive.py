"""The file of a backup: files of one source, sealed in pieces. Pure but for the files that it is given.

    tlsrt source backup 1\\n  {source, made_ms, salt}\\n  (length, u32 big-endian; sealed piece)*

Each piece is AES-256-GCM (RFC 5116) under a key that HKDF (RFC 5869) derives from the root of the service and the salt,
16 random bytes of this file alone. The nonce is the number of the piece and whether it is the last one, so pieces can
neither be changed, left out, doubled, put in another order nor cut off at the end (STREAM, Hoang and others 2015). The
first line is bound to each of them. Inside stand entries: a line of JSON, and of a file its content in pieces of u32
length, a length of 0, and the SHA-256 of it. The last entry says how many there are.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC: Final = b"tlsrt source backup 1\n"
KEY_BYTES: Final = 32
PIECE: Final = 128 * 1024  # fits one message of a stream
_TAG = 16
_LINE_MOST = 64 * 1024
_LENGTH = struct.Struct(">I")


class BrokenArchive(Exception):
    """The file is not, or not whole, what this key has sealed. Its text is a reason for people."""


@dataclass(frozen=True, slots=True)
class ArchiveHead:
    """What a backup says of itself in the clear, and bound to all of it."""

    source: str
    made_ms: int
    salt: str


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One file, folder or database; `path` is below the source, in which bytes that are no UTF-8 are escaped."""

    path: str
    kind: str  # file, folder, database (a file too, of one moment)
    mode: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class ArchiveEnd:
    """How much is in a backup."""

    files: int
    folders: int
    content_bytes: int
    left_out: int


class SealingWriter:
    """Writes the sealed pieces; `finish` writes the last one."""

    def __init__(self, out: BinaryIO, root: bytes, source: str, made_ms: int) -> None:
        head = ArchiveHead(source, made_ms, os.urandom(16).hex())
        self._first = MAGIC + json.dumps(asdict(head)).encode() + b"\n"
        self._key = _key(root, head.salt)
        self._out = out
        self._number = 0
        self._left = bytearray()
        out.write(self._first)
        self.files = self.folders = self.content_bytes = 0

    def begin(self, entry: ArchiveEntry) -> None:
        """Write the line of an entry; of a file `add` and `end` follow."""
        self._put(json.dumps(asdict(entry)).encode() + b"\n")
        if entry.kind == "folder":
            self.folders += 1
        else:
            self.files += 1
            self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Write more of the content of a file: 1 byte to `PIECE`."""
        self._digest.update(data)
        self.content_bytes += len(data)
        self._put(_LENGTH.pack(len(data)) + data)

    def end(self) -> None:
        """Write the end of the content of a file."""
        self._put(_LENGTH.pack(0) + self._digest.digest())

    def finish(self, left_out: int) -> ArchiveEnd:
        """Write the end of all."""
        end = ArchiveEnd(self.files, self.folders, self.content_bytes, left_out)
        self._put(json.dumps({"end": asdict(end)}).encode() + b"\n")
        self._seal(bytes(self._left), is_last=True)
        return end

    def _put(self, data: bytes) -> None:
        self._left += data
        while len(self._left) > PIECE:  # and never all, as the last one is marked
            self._seal(bytes(self._left[:PIECE]), is_last=False)
            del self._left[:PIECE]

    def _seal(self, data: bytes, *, is_last: bool) -> None:
        sealed = self._key.encrypt(_nonce(self._number, is_last), data, self._first)
        self._number += 1
        self._out.write(_LENGTH.pack(len(sealed)) + sealed)


class OpeningReader:
    """Opens the pieces one after the other. Raises BrokenArchive at the first byte that is not as it was sealed."""

    def __init__(self, file: BinaryIO, root: bytes) -> None:
        self._file = file
        self.head, self._first = _head_untrusted(file)
        self._key = _key(root, self.head.salt)
        self._number = 0
        self._left = bytearray()
        self._is_last = False

    def read(self, count: int) -> bytes:
        """Return exactly so many bytes of what was sealed."""
        while len(self._left) < count:
            self._next()
        found = bytes(self._left[:count])
        del self._left[:count]
        return found

    def line(self) -> dict[str, Any]:
        """Return the next line."""
        while (at := self._left.find(b"\n")) < 0:
            if len(self._left) > _LINE_MOST:
                raise BrokenArchive("a line in it has no end")
            self._next()
        text = self.read(at + 1)
        try:
            tree = json.loads(text)
        except ValueError:
            raise BrokenArchive("a line in it cannot be read") from None
        if not isinstance(tree, dict):
            raise BrokenArchive("a line in it cannot be read")
        return tree

    def expect_end(self) -> None:
        """Raise BrokenArchive if anything follows."""
        if self._left or not self._is_last or self._file.read(1):
            raise BrokenArchive("something stands behind its end")

    def _next(self) -> None:
        if self._is_last:
            raise BrokenArchive("it ends before its last entry")
        length = self._file.read(_LENGTH.size)
        if len(length) != _LENGTH.size:
            raise BrokenArchive("it was cut off, or never written to its end")
        (size,) = _LENGTH.unpack(length)
        if not _TAG <= size <= PIECE + _TAG:
            raise BrokenArchive(f"piece {self._number + 1} is damaged")
        sealed = self._file.read(size)
        for is_last in (False, True):
            try:
                self._left += self._key.decrypt(_nonce(self._number, is_last), sealed, self._first)
            except InvalidTag:
                continue
            self._is_last = is_last
            self._number += 1
            return
        raise BrokenArchive(f"piece {self._number + 1} is damaged, or was sealed by another root")


def read_head_untrusted(file: BinaryIO) -> ArchiveHead:
    """Return what a file says of itself, which nothing has confirmed. Raises BrokenArchive."""
    return _head_untrusted(file)[0]


def entries(reader: OpeningReader) -> Iterator[ArchiveEntry | ArchiveEnd]:
    """Yield the entries, and last the end; read or pass over the content of each with `content` before the next."""
    while True:
        tree = reader.line()
        try:
            if "end" in tree:
                end = ArchiveEnd(**tree["end"])
                reader.expect_end()
                yield end
                return
            yield ArchiveEntry(**tree)
        except TypeError:
            raise BrokenArchive("a line in it cannot be read") from None


def content(reader: OpeningReader) -> Iterator[bytes]:
    """Yield the content of a file and compare its SHA-256 at the end. Raises BrokenArchive."""
    digest = hashlib.sha256()
    while size := _LENGTH.unpack(reader.read(_LENGTH.size))[0]:
        if size > PIECE:
            raise BrokenArchive("a file in it has an impossible length")
        data = reader.read(size)
        digest.update(data)
        yield data
    if reader.read(digest.digest_size) != digest.digest():
        raise BrokenArchive("a file in it does not have its SHA-256")


def _head_untrusted(file: BinaryIO) -> tuple[ArchiveHead, bytes]:
    magic, line = file.read(len(MAGIC)), file.readline(4096)
    try:
        tree = json.loads(line)
        head = ArchiveHead(str(tree["source"]), int(tree["made_ms"]), str(tree["salt"]))
        bytes.fromhex(head.salt)
    except (ValueError, TypeError, KeyError):
        raise BrokenArchive("its first lines cannot be read") from None
    if magic != MAGIC or len(head.salt) != 32:
        raise BrokenArchive("its first lines cannot be read")
    return head, magic + line


def _key(root: bytes, salt: str) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, bytes.fromhex(salt), b"tlsrt/source-backup/1").derive(root))


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
