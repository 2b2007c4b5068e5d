"""An archive of the host, on its way to a component: a pipe of sealed pieces, and whether all of them came."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Iterator
from typing import Final, Self

from tlsrt.errors import Failed

_READ: Final = 128 * 1024
_LENGTH: Final = struct.Struct(">I")
_MAGIC: Final = b"tlsrt sealed host backup 1\n"
_LINE_MOST: Final = 1024
_SILENT_MS: Final = 60_000


class HostArchive:
    """A sealed archive of the host, read once, from its beginning to its end. Close it, or use it in a `with`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = b""  # the first two lines, until they are whole
        self._left = -1  # bytes of the piece that is read, -1: in the lines above
        self._length = b""
        self._is_over = False

    def __repr__(self) -> str:
        return "<HostArchive, sealed>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:  # one that is forgotten would keep all others of the host away
        self.close()

    def close(self) -> None:
        """Read no more of it: the runtime ends what writes it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def pieces(self) -> Iterator[bytes]:
        """Yield all of it, at most 128 KiB at once. Waits, so it is for a thread.

        Raises Failed if it ends before its end, or nothing comes for a minute: then it is no archive.
        """
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while True:
            if not poll.poll(_SILENT_MS):
                raise Failed("the archive of the host does not come: try again")
            data = os.read(self._descriptor, _READ)
            if not data:
                break
            self._follow(data)
            yield data
        if not self._is_over:
            raise Failed("the archive of the host was cut off: try again")

    def _follow(self, data: bytes) -> None:
        """Go along with the lengths of pieces, by which its end is known. Raises Failed for what is no archive."""
        at = 0
        if self._left < 0:
            before = len(self._head)
            self._head += data[:_LINE_MOST]
            end = self._head.find(b"\n", len(_MAGIC))
            if not _MAGIC.startswith(self._head[: len(_MAGIC)]) or (end < 0 and len(self._head) >= _LINE_MOST):
                raise Failed("what came is no archive of the host: try again")
            if end < 0:
                return
            at, self._left = end + 1 - before, 0
        while at < len(data):
            if self._is_over:
                raise Failed("something stands behind the end of the archive: try again")
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            taken = min(_LENGTH.size - len(self._length), len(data) - at)
            self._length += data[at : at + taken]
            at += taken
            if len(self._length) == _LENGTH.size:
                (self._left,) = _LENGTH.unpack(self._length)
                self._length, self._is_over = b"", not self._left
