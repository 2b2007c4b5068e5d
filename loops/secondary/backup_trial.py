"""Reading of backups: a check of all that is sealed, and a restore into a private folder that is looked at."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tlsrt.loops.secondary.backup_archive import (
    ArchiveEnd,
    ArchiveEntry,
    BrokenArchive,
    OpeningReader,
    content,
    entries,
)
from tlsrt.loops.secondary.backup_source import damage_of


def verified(file: BinaryIO, root: bytes, source: str) -> Iterator[ArchiveEnd | None]:
    """Open every piece and compare every SHA-256; the last item is the end. Raises BrokenArchive and OSError."""
    reader = _reader(file, root, source)
    counts = [0, 0, 0]
    for entry in entries(reader):
        if isinstance(entry, ArchiveEnd):
            if counts != [entry.files, entry.folders, entry.content_bytes]:
                raise BrokenArchive("it does not hold as many files as it says")
            yield entry
            return
        if entry.kind == "folder":
            counts[1] += 1
            continue
        counts[0] += 1
        for data in content(reader):
            counts[2] += len(data)
            yield None


def listed(file: BinaryIO, root: bytes, source: str) -> Iterator[ArchiveEntry | None]:
    """Yield each entry, and None for each piece that was passed over. Raises BrokenArchive and OSError."""
    reader = _reader(file, root, source)
    for entry in entries(reader):
        if isinstance(entry, ArchiveEntry):
            yield entry
            if entry.kind != "folder":
                for _ in content(reader):
                    yield None


def one_file(file: BinaryIO, root: bytes, source: str, path: str) -> Iterator[bytes | None]:
    """Yield the content of one file, None while it is looked for. Raises BrokenArchive, KeyError if it is not there."""
    reader = _reader(file, root, source)
    for entry in entries(reader):
        if isinstance(entry, ArchiveEnd) or entry.kind == "folder":
            continue
        if entry.path == path:
            yield from content(reader)
            return
        for _ in content(reader):
            yield None
    raise KeyError(path)


def restored(file: BinaryIO, root: bytes, source: str, folder: Path) -> Iterator[ArchiveEnd | None]:
    """Write all of a backup into an empty folder, read it back from there, and have SQLite look at its databases.

    Modes are those of the owner alone. Raises BrokenArchive and OSError.
    """
    reader = _reader(file, root, source)
    base = os.path.realpath(folder)
    for entry in entries(reader):
        if isinstance(entry, ArchiveEnd):
            yield entry
            return
        target = folder / _checked(entry.path)
        if os.path.realpath(target.parent) != base and not os.path.realpath(target.parent).startswith(base + "/"):
            raise BrokenArchive("a path in it leads out")
        if entry.kind == "folder":
            target.mkdir(mode=0o700)
            continue
        digest = hashlib.sha256()
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as out:
            for data in content(reader):
                out.write(data)
                digest.update(data)
                yield None
        yield from _compared(target, digest.digest())
        if entry.kind == "database" and (damage := damage_of(target)):
            raise BrokenArchive(f"the database {entry.path} in it is damaged ({damage})")


def _compared(path: Path, expected: bytes) -> Iterator[None]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
            yield None
    if digest.digest() != expected:
        raise BrokenArchive("a file that was restored reads differently: look at the disk of the state folder")


def _reader(file: BinaryIO, root: bytes, source: str) -> OpeningReader:
    reader = OpeningReader(file, root)
    if reader.head.source != source:
        raise BrokenArchive(f"it is one of {reader.head.source}, under another name")
    return reader


def _checked(path: str) -> str:
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise BrokenArchive("a path in it leads out")
    return path
