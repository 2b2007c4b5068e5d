"""Files of a folder of the kernel that are read again and again: opened once, then one system call for each reading.

The kernel makes the text anew for each read from its start, pread(2). An open file of /proc/PID belongs to the process
or task that it was opened for: when that has ended a read fails with ProcessLookupError, and it never tells of another
one that has got the same number. A name that is looked up in the folder's descriptor fails likewise.
"""

from __future__ import annotations

import os

_READ_BYTES = 64 * 1024


class KeptFiles:
    """Open files of one folder. Methods raise OSError; after `close` the next reading opens them again."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._descriptors: dict[str, int] = {}  # by name; that of the folder itself is nameless

    @property
    def count(self) -> int:
        """Return how many descriptors are open."""
        return len(self._descriptors)

    @property
    def directory(self) -> int:
        """Return a descriptor of the folder, to look names up in (O_PATH, open(2))."""
        descriptor = self._descriptors.get("", -1)
        if descriptor < 0:
            descriptor = self._descriptors[""] = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return descriptor

    def read(self, name: str) -> bytes:
        """Return a file that the kernel makes in one piece, as it is now; of a list, at least its first entries."""
        descriptor = self._descriptors.get(name, -1)
        if descriptor < 0:
            descriptor = self._descriptors[name] = self._open(name)
        pieces = [os.pread(descriptor, _READ_BYTES, 0)]
        while len(pieces[-1]) == _READ_BYTES:
            pieces.append(os.pread(descriptor, _READ_BYTES, _READ_BYTES * len(pieces)))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_anew(self, name: str) -> bytes:
        """Return a whole file, opened for this: what it tells is fixed when it is opened."""
        descriptor = self._open(name)
        try:
            pieces: list[bytes] = []
            while piece := os.read(descriptor, _READ_BYTES):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory)

    def close(self) -> None:
        """Give the descriptors back."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
