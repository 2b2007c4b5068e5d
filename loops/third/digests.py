"""SHA-256 of files in a folder, remembered as long as the file is the same one.

A large file is read piece by piece, so that a loop's event loop beats on meanwhile, and one file at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from typing import NamedTuple

from tlsrt.errors import InvalidArgument
from tlsrt.loops.third.folder import Folder

PIECE_BYTES = 512 * 1024  # hashed in a millisecond or two
_HEX = re.compile(r"[0-9a-f]{64}")


class Digest(NamedTuple):
    """What a file is: its size in bytes, its SHA-256 in hex, and when it was changed (wall clock, ms)."""

    size: int
    sha256: str
    changed_ms: int


class Digests:
    """The digests of one folder's files."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}
        self._lock: asyncio.Lock | None = None

    async def of(self, name: str) -> Digest:
        """Return what a file is; raises a CallError. A file that is replaced meanwhile is the one that was opened."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            descriptor = self._folder.open_read(name)
            try:
                status = os.fstat(descriptor)
                identity = _identity(status)
                known = self._known.get(name)
                if known is None or known[0] != identity:
                    known = identity, (await hash_file(descriptor, status.st_size)).hexdigest()
                    if len(self._known) >= self._folder.quota.files:
                        self._known.clear()
                    self._known[name] = known
            finally:
                os.close(descriptor)
        return Digest(status.st_size, known[1], status.st_mtime_ns // 1_000_000)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


async def hash_file(descriptor: int, size: int) -> hashlib._Hash:
    """Return the running SHA-256 of the first `size` bytes."""
    running = hashlib.sha256()
    offset = 0
    while offset < size and (piece := os.pread(descriptor, min(PIECE_BYTES, size - offset), offset)):
        running.update(piece)
        offset += len(piece)
        await asyncio.sleep(0)
    return running


def check_digest(sha256: str) -> str:
    """Return a SHA-256 in hex; InvalidArgument says what one looks like."""
    if not _HEX.fullmatch(sha256):
        raise InvalidArgument("sha256: expected 64 hexadecimal digits in small letters")
    return sha256
