"""The folder that backups lie in: one file each, complete or not there, and how many of them are kept."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".tlsrt-backup"
_PART = ".part"
_ID = re.compile(r"([a-z0-9_-]{1,32})\.(\d{8}T\d{6}\.\d{3}Z)")
ID_PATTERN = re.compile(_ID.pattern)
LISTED_MOST = 4096


@dataclass(frozen=True, slots=True)
class Kept:
    """One backup by its name: SOURCE.TIME, in UTC."""

    id: str
    source: str
    made: str
    size_bytes: int


class Shelf:
    """A folder for backups. All of it raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> int:
        """Remove what was never finished; return how many files that were."""
        found = 0
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if name.endswith(SUFFIX + _PART) and _ID.fullmatch(name.removesuffix(SUFFIX + _PART).lstrip(".")):
                os.unlink(self._folder / name)
                found += 1
        return found

    def kept(self, source: str | None = None) -> list[Kept]:
        """Return what is there, the latest first."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                match = _ID.fullmatch(entry.name.removesuffix(SUFFIX)) if entry.name.endswith(SUFFIX) else None
                if match and entry.is_file(follow_symlinks=False) and source in (None, match[1]):
                    size = entry.stat(follow_symlinks=False).st_size
                    found.append(Kept(match[0], match[1], match[2], size))
        return sorted(found, key=lambda one: (one.made, one.source), reverse=True)[:LISTED_MOST]

    def free_bytes(self) -> int:
        """Return how much room there is for us."""
        there = os.statvfs(self._folder)
        return there.f_bavail * there.f_frsize

    def has(self, id_: str) -> bool:
        """Tell whether there is one of this id."""
        return (self._folder / (id_ + SUFFIX)).is_file()

    def open(self, id_: str) -> BinaryIO:
        """Open one for reading. Raises FileNotFoundError."""
        descriptor = os.open(self._folder / (id_ + SUFFIX), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(id_)
        return open(descriptor, "rb")

    def begin(self, id_: str) -> BinaryIO:
        """Return a new file that no list shows before `finish`."""
        path = self._part(id_)
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")

    def finish(self, id_: str, out: BinaryIO) -> None:
        """Have the disk keep it, and only then give it its name."""
        out.flush()
        os.fsync(out.fileno())
        os.replace(self._part(id_), self._folder / (id_ + SUFFIX))
        self._sync()

    def give_up(self, id_: str) -> None:
        """Remove what was not finished."""
        with contextlib.suppress(OSError):
            os.unlink(self._part(id_))

    def remove(self, id_: str) -> None:
        """Remove a backup."""
        os.unlink(self._folder / (id_ + SUFFIX))
        self._sync()

    def _part(self, id_: str) -> Path:
        return self._folder / f".{id_}{SUFFIX}{_PART}"

    def _sync(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def to_remove(kept: list[Kept], keep: int, since: str | None, verified: str | None) -> Iterator[Kept]:
    """Yield what may go of one source, given the latest first: more than `keep`, or older than `since`.

    The latest and the last one that was verified, `verified`, always stay.
    """
    for place, one in enumerate(kept):
        if place and one.id != verified and (place >= keep or (since is not None and one.made < since)):
            yield one
