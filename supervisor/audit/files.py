"""Files of the audit log: the folder, its names, and how a file is made. Descriptors, no format.

A file gets its name when its header is on the disk, so that no crash leaves one without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress

from tlsrt.config.files import create_in, open_folder, rename_in

FOLDER = "audit"
_NEW = "new"
_BLOCK = 4096  # bytes: what a file takes at least
_NAME = re.compile(r"audit-(\d{8,12})\.log")


def name_of(number: int) -> str:
    """Return the name of a file."""
    return f"audit-{number:08d}.log"


def number_of(name: str) -> int:
    """Return the number in a file's name; 0 if it is no file of the log."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


class AuditFolder:
    """One folder, known by descriptor. Everything raises OSError."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def within(cls, state: int) -> AuditFolder:
        """Return the folder in the authority's own, which is made if it is not there."""
        with suppress(FileExistsError):
            os.mkdir(FOLDER, 0o700, dir_fd=state)
            os.fsync(state)
        return cls(open_folder(FOLDER, follow=False, within=state))

    @classmethod
    def if_there(cls, state: int) -> AuditFolder | None:
        """Return the folder in the authority's own, None if it is not there."""
        with suppress(FileNotFoundError):
            return cls(open_folder(FOLDER, follow=False, within=state))
        return None

    def names(self) -> list[str]:
        """Return the files in their order."""
        return sorted(filter(number_of, os.listdir(self._descriptor)), key=number_of)

    def read(self, name: str, most: int = -1) -> bytes:
        """Return what is in a file, or its first bytes."""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(most)

    def read_if_there(self, name: str) -> bytes:
        """Return what is in a file, nothing if there is none."""
        with suppress(FileNotFoundError):
            return self.read(name)
        return b""

    def size(self, name: str) -> int:
        """Return the room that a file takes."""
        found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        return -(-found.st_size // _BLOCK) * _BLOCK

    def create(self, number: int, header: bytes) -> int:
        """Make a file that begins with a header, safely on the disk. Return the descriptor to append to."""
        descriptor = create_in(self._descriptor, _NEW, header, os.O_APPEND)
        try:
            rename_in(self._descriptor, _NEW, name_of(number))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def put(self, name: str, data: bytes) -> None:
        """Replace a file that is none of the log, safely on the disk."""
        os.close(create_in(self._descriptor, _NEW, data))
        rename_in(self._descriptor, _NEW, name)

    def remove(self, names: Sequence[str]) -> None:
        """Remove files."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._descriptor)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Give the folder back."""
        os.close(self._descriptor)
