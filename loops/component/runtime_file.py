"""A file of the runtime that a component is granted to read: the log of a process, or a part of the audit log."""

from __future__ import annotations

import os

from tlsrt.channels.control import life

FILES_MOST = life.FILES_MOST  # of one answer


class RuntimeFile:
    """An open file that can be read and not written. `name` is a process, or the number of a part of the audit log."""

    __slots__ = ("_descriptor", "identity", "is_earlier", "name")

    def __init__(self, name: str, descriptor: int, *, is_earlier: bool = False) -> None:
        self.name = name
        self.is_earlier = is_earlier  # what was moved away, before what is written now
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)

    def __repr__(self) -> str:
        return f"RuntimeFile({self.name!r}, is_earlier={self.is_earlier})"

    @property
    def size(self) -> int:
        """Return its bytes now. Raises OSError."""
        return os.fstat(self._descriptor).st_size

    def read(self, size: int, offset: int) -> bytes:
        """Return at most so many bytes from one on; waits for its disk. Raises OSError."""
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        """Give it back; again is nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()
