"""The folder of a tree in which what is unfinished lies: on the same file system, so that a rename puts it in place."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from tlsrt.loops.third.folder import KEPT
from tlsrt.loops.third.tree_path import OWN

STAGING = f"{OWN}uploads"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Staging:
    """Unfinished files by hidden names. It is made with the first of them. Raises OSError."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}  # bytes of each unfinished upload
        self._root = self._descriptor = -1
        self._number = 0

    def load(self, root: int) -> None:
        """Find what earlier lives have left below a tree's root; remove what cannot be gone on with."""
        self._root = root
        with suppress(FileNotFoundError):
            self._descriptor = os.open(STAGING, _FOLDER, dir_fd=root)
            for name in os.listdir(self._descriptor):
                status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
                if name.startswith(KEPT) and stat.S_ISREG(status.st_mode):
                    self.kept[name] = status.st_size
                elif not stat.S_ISDIR(status.st_mode):
                    os.unlink(name, dir_fd=self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def descriptor(self) -> int:
        """The folder, made anew if another program has removed it."""
        if self._descriptor >= 0 and not os.fstat(self._descriptor).st_nlink:
            self.close()
        if self._descriptor < 0:
            with suppress(FileExistsError):
                os.mkdir(STAGING, 0o700, dir_fd=self._root)
            self._descriptor = os.open(STAGING, _FOLDER, dir_fd=self._root)
        return self._descriptor

    def new(self) -> tuple[str, int]:
        """Make a file for content that comes at once; return its name and a descriptor that writes."""
        self._number += 1
        part = f"part-{self._number}"
        return part, os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=self.descriptor)

    def open(self, part: str, flags: int) -> int:
        return os.open(part, flags | _FILE, 0o600, dir_fd=self.descriptor)

    def changed_of(self, part: str) -> float:
        """Return when an unfinished file got its last byte (wall clock, s)."""
        try:
            return os.stat(part, dir_fd=self.descriptor, follow_symlinks=False).st_mtime
        except OSError:
            return 0.0

    def drop(self, part: str) -> None:
        """Remove an unfinished file."""
        self.kept.pop(part, None)
        with suppress(OSError):
            os.unlink(part, dir_fd=self.descriptor)
