"""SHA-256 of files in a folder, remembered as long as the file is the same one.

A large file is read piece by piece, so that other work on the disk comes between, and one file of a subject at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from functools import partial
from typing import NamedTuple, Protocol

from tlsrt import DiskThread, DiskWork, InvalidArgument
from tlsrt.loops.third.folder import OpenFile

PIECE_BYTES = 512 * 1024  # hashed in a millisecond or two
HEX = re.compile(r"[0-9a-f]{64}")


class Digest(NamedTuple):
    """What a file is: its size in bytes, its SHA-256 in hex, and when it was changed (wall clock, ms)."""

    size: int
    sha256: str
    changed_ms: int


class DigestedFiles(Protocol):
    """Files by name."""

    def open_read(self, name: str) -> int:
        """Return a descriptor for reading, which the caller closes. Raises a CallError."""
        ...


class Digests:
    """The digests of one folder's files; at most `most` are remembered."""

    def __init__(self, folder: DigestedFiles, disk: DiskThread, most: int) -> None:
        self._folder = folder
        self._most = most
        self._disk = disk
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}  # by subject, with how many want it

    async def of(self, name: str, subject: str) -> Digest:
        """Return what a file is; raises a CallError. A file that is replaced meanwhile is the one that was opened."""
        lock, count = self._turns.get(subject) or (asyncio.Lock(), 0)
        self._turns[subject] = lock, count + 1
        try:
            async with lock:
                return await self._look(name, subject)
        finally:
            lock, count = self._turns.pop(subject)
            if count > 1:
                self._turns[subject] = lock, count - 1

    async def _look(self, name: str, subject: str) -> Digest:
        file = OpenFile(partial(self._folder.open_read, name))
        try:
            status = await self._disk.run(subject, DiskWork(file.status))
            identity = _identity(status)
            known = self._known.get(name)
            if known is None or known[0] != identity:
                running = await hash_file(self._disk, subject, file, status.st_size)
                known = identity, running.hexdigest()
                if len(self._known) >= self._most:
                    self._known.clear()
                self._known[name] = known
        finally:
            self._disk.post(subject, DiskWork(file.close))
        return Digest(status.st_size, known[1], status.st_mtime_ns // 1_000_000)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


async def hash_file(disk: DiskThread, subject: str, file: OpenFile, size: int) -> hashlib._Hash:
    """Return the running SHA-256 of the first `size` bytes."""
    running = hashlib.sha256()
    offset = 0

    def add_piece() -> int:
        piece = file.read(min(PIECE_BYTES, size - offset), offset)
        running.update(piece)
        return len(piece)

    while offset < size and (length := await disk.run(subject, DiskWork(add_piece))):
        offset += length
    return running


def check_digest(sha256: str) -> str:
    """Return a SHA-256 in hex; InvalidArgument says what one looks like."""
    if not HEX.fullmatch(sha256):
        raise InvalidArgument("sha256: expected 64 hexadecimal digits in small letters")
    return sha256
