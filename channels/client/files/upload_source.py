"""The local file of an upload; a change of it meanwhile is noticed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

from tlsrt.errors import Conflict, Failed

READ_BYTES = 1 << 20
PART_BYTES = 64 * 1024


class UploadSource:
    """One regular file, open for reading. Raises Failed, with a sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise Failed(f"cannot read {path}: {(error.strerror or '').lower()}") from None
        self._status = os.fstat(self._descriptor)
        if not stat.S_ISREG(self._status.st_mode):
            os.close(self._descriptor)
            raise Failed(f"{path} is no file: only regular files can be sent")
        self.size = self._status.st_size

    def __enter__(self) -> UploadSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    async def digest(self) -> str:
        """Return the SHA-256 of all of it, in hex; it is read in a thread."""
        running = hashlib.sha256()
        offset = 0
        while offset < self.size:
            piece = await self._read(offset, READ_BYTES)
            await asyncio.to_thread(running.update, piece)
            offset += len(piece)
        self.check()
        return running.hexdigest()

    def check(self) -> None:
        """Raise Conflict if the file is not what it was."""
        now, before = os.fstat(self._descriptor), self._status
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise Conflict(f"{self.path} was changed while it was sent, so nothing was changed at the host: try again")

    async def parts(self, offset: int, length: int) -> AsyncIterator[bytes]:
        """Yield up to `length` bytes from `offset` on, in pieces that fit one frame each."""
        end = min(self.size, offset + length)
        while offset < end:
            piece = await self._read(offset, min(READ_BYTES, end - offset))
            for at in range(0, len(piece), PART_BYTES):
                yield piece[at : at + PART_BYTES]
            offset += len(piece)

    async def _read(self, offset: int, length: int) -> bytes:
        try:
            piece = await asyncio.to_thread(os.pread, self._descriptor, length, offset)
        except OSError as error:
            raise Failed(f"cannot read {self.path}: {(error.strerror or '').lower()}") from None
        if not piece:
            self.check()
            raise Failed(f"{self.path} ended before its end")
        return piece
