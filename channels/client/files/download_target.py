"""The file that is fetched, on this machine: hidden until all of it is there and right, then renamed in one step.

Its hidden name holds the SHA-256 of what it will be, so another fetch of the same file goes on where an earlier
run, also a killed one, has ended; and what was begun of an older content is found and removed.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tlsrt.errors import Busy, Failed

READ_BYTES = 1 << 20
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DownloadTarget:
    """One file to be. Raises Failed with a sentence, and Busy if another run fetches the same."""

    def __init__(self, path: Path, size: int, sha256: str) -> None:
        self.path = path
        self._size = size
        self._sha256 = sha256
        self.part = path.with_name(f".{path.name[:150]}.{sha256[:16]}.part")
        if path.is_dir():
            raise Failed(f"{path} is a folder: say the name of the file too")
        try:
            self._descriptor = os.open(self.part, _FLAGS, 0o600)
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._lock()
            self._drop_older()
        except BaseException:
            os.close(self._descriptor)
            raise
        self.done = os.fstat(self._descriptor).st_size
        self._running: hashlib._Hash | None = None
        self._is_named = False

    def _lock(self) -> None:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid != os.geteuid():
            raise Failed(f"{self.part} is not a file of ours: remove it")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another run is fetching {self.path} already") from None

    def _drop_older(self) -> None:
        """Remove what was begun of other contents of this file, unless it is in use."""
        ours = re.compile(re.escape(f".{self.path.name[:150]}.") + r"[0-9a-f]{16}\.part")
        for entry in os.scandir(self.path.parent):
            if (
                not ours.fullmatch(entry.name)
                or entry.name == self.part.name
                or not entry.is_file(follow_symlinks=False)
            ):
                continue
            with suppress(OSError):
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                finally:
                    os.close(descriptor)

    def __enter__(self) -> DownloadTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.done and not self._is_named:
            with suppress(OSError):
                os.unlink(self.part)
        os.close(self._descriptor)

    async def resume(self) -> int:
        """Return from where to go on: what an earlier run has left is read again, for the SHA-256."""
        if self.done > self._size:
            self._empty()
        if self._running is None:
            running, offset = hashlib.sha256(), 0
            while offset < self.done:
                piece = await asyncio.to_thread(os.pread, self._descriptor, READ_BYTES, offset)
                await asyncio.to_thread(running.update, piece)
                offset += len(piece)
            self._running = running
        return self.done

    def check_room(self) -> None:
        """Say at once if the disk has no room for the rest."""
        there = os.statvfs(self.path.parent)
        free = there.f_bavail * there.f_frsize
        if free < self._size - self.done:
            raise Failed(f"{self.path} needs {self._size - self.done} bytes more, and the disk has {free}")

    def write(self, data: bytes) -> None:
        """Add the next bytes."""
        assert self._running is not None
        if self.done + len(data) > self._size:
            self._empty()
            raise Failed(f"{self.path}: more bytes came than the host has announced; nothing was changed")
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._descriptor, rest)
                self._running.update(rest[:written])
                self.done += written
                rest = rest[written:]
        except OSError as error:
            raise self._failed(error) from None

    def finish(self) -> bool:
        """Give it its name, on the disk; False if a byte of it is wrong: then it has to be fetched anew."""
        assert self._running is not None
        if self.done != self._size or self._running.hexdigest() != self._sha256:
            self._empty()
            return False
        try:
            os.fchmod(self._descriptor, self._mode())
            os.fsync(self._descriptor)
            os.replace(self.part, self.path)
            self._is_named = True
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._failed(error) from None
        return True

    def _mode(self) -> int:
        """Return the mode of the file that is replaced, else that of any new file."""
        with suppress(OSError):
            status = os.stat(self.path)
            if stat.S_ISREG(status.st_mode):
                return stat.S_IMODE(status.st_mode) & 0o777
        mask = os.umask(0o077)
        os.umask(mask)
        return 0o666 & ~mask

    def _empty(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self.done, self._running = 0, None

    def _failed(self, error: OSError) -> Failed:
        if error.errno in _FULL:
            kept = f"; {self.done} bytes are kept in {self.part.name} for the next try" if self.done else ""
            return Failed(f"the disk is full: {self.path} was not changed{kept}")
        return Failed(f"cannot write {self.path}: {(error.strerror or '').lower()}")
