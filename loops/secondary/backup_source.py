"""What is in a granted folder, for a backup: files, folders, and databases of SQLite as they were at one moment.

Or what the runtime gives of itself.

It walks from open folder to open folder and follows no link. Links, sockets, pipes, devices and what cannot be read are
left out and counted; a database that cannot be copied fails the whole, as a copy without it would look complete.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from tlsrt import Failed, HostArchive
from tlsrt.loops.secondary.backup_archive import PIECE, ArchiveEntry, SealingWriter

DEPTH_MOST = 64
ENTRIES_MOST = 1_000_000
RUNTIME_FILE = "host.sealed"  # what a backup of the runtime holds
_SQLITE = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")
_BUSY_S = 20.0


class SourceError(Exception):
    """A source cannot be kept. Its text is a sentence for people."""


class Source:
    """One folder or file that is granted. `scratch` is a file of ours in which a database is copied first."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path
        self._scratch = scratch
        self.left_out: list[str] = []
        self.left_out_count = 0
        self._count = 0

    def put(self, writer: SealingWriter) -> Iterator[None]:
        """Write all of it, with a pause for other work after each piece. Raises SourceError and OSError."""
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError as error:
            raise SourceError(
                f"{self._path}: {error.strerror}; name it under `needs` (read), and let the component's user in"
            ) from None
        if stat.S_ISREG(status.st_mode):
            parent = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield from self._file(writer, parent, self._path.name, self._path.name)
            finally:
                os.close(parent)
            return
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        yield from self._folder(writer, folder, "", 0)

    def _folder(self, writer: SealingWriter, folder: int, below: str, depth: int) -> Iterator[None]:
        """Write a folder, whose descriptor is closed then."""
        try:
            names = sorted(os.listdir(folder))
            databases = {name for name in names if _is_database(folder, name)}
            for name in names:
                path = f"{below}{name}"
                self._count += 1
                if self._count > ENTRIES_MOST:
                    raise SourceError(f"{self._path} has more than {ENTRIES_MOST} entries: make it several sources")
                if any(name.endswith(end) and name.removesuffix(end) in databases for end in _BESIDE):
                    continue  # it is in the copy of its database
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode) and depth < DEPTH_MOST:
                        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                    elif stat.S_ISREG(status.st_mode):
                        yield from self._file(writer, folder, name, path)
                        continue
                    else:
                        self._leave_out(path, "no file or folder")
                        continue
                except OSError as error:
                    if error.errno is None or not _is_of_source(error):
                        raise
                    self._leave_out(path, error.strerror)
                    continue
                # names that are no UTF-8 have lone surrogates here, which JSON escapes
                writer.begin(ArchiveEntry(path, "folder", stat.S_IMODE(status.st_mode), _ms(status)))
                yield from self._folder(writer, inside, f"{path}/", depth + 1)
        finally:
            os.close(folder)

    def _file(self, writer: SealingWriter, folder: int, name: str, path: str) -> Iterator[None]:
        """Write one file. What cannot be opened raises OSError with a file name of ours; then nothing was written."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            self._leave_out(path, error.strerror)
            return
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._leave_out(path, "no file")
                return
            if file.read(len(_SQLITE)) != _SQLITE:
                file.seek(0)
                writer.begin(ArchiveEntry(path, "file", stat.S_IMODE(status.st_mode), _ms(status)))
                left = status.st_size  # one that grows meanwhile is kept as long as it was
                while left > 0 and (data := file.read(min(left, PIECE))):
                    writer.add(data)
                    left -= len(data)
                    yield
                writer.end()
                return
        place = self._path if self._path.name == path and self._path.is_file() else self._path / path
        yield from self._copied(place)
        writer.begin(ArchiveEntry(path, "database", stat.S_IMODE(status.st_mode), _ms(status)))
        with open(self._scratch, "rb") as copy:
            while data := copy.read(PIECE):
                writer.add(data)
                yield
        writer.end()
        self._scratch.unlink()

    def _copied(self, path: Path) -> Iterator[None]:
        """Copy a database as it is at one moment, also while its owner writes; see sqlite3_backup_init()."""
        for left in (self._scratch, self._scratch.with_name(self._scratch.name + "-journal")):
            left.unlink(missing_ok=True)
        name = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        try:
            # A database of a writer that has closed it has no log: then it is all in one file, which must not change.
            alone = not any(path.with_name(path.name + end).exists() for end in _BESIDE)
            before = path.stat()
            uri = f"file:{name}?mode=ro" + ("&immutable=1" if alone else "")
            with (
                closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, check_same_thread=False)) as source,
                closing(sqlite3.connect(self._scratch, isolation_level=None, check_same_thread=False)) as copy,
            ):
                copy.execute("PRAGMA synchronous = OFF")  # it is written on from here and removed
                source.execute("BEGIN")  # one moment for all of it: what is written meanwhile waits in the log
                source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                source.backup(copy, pages=-1)
                copy.execute("PRAGMA journal_mode = DELETE")
            now = path.stat()
            if alone and (before.st_mtime_ns, before.st_size) != (now.st_mtime_ns, now.st_size):
                raise SourceError(f"the database {path} was written while it was copied: run it again")
            damage = damage_of(self._scratch)
        except sqlite3.Error as error:
            raise SourceError(
                f"the database {path} cannot be copied ({error}): grant its folder under `write`, which a log of "
                "SQLite takes, and let the component's user in"
            ) from None
        if damage:
            raise SourceError(f"the database {path} is damaged ({damage}): restore it before it is all that is kept")
        yield

    def _leave_out(self, path: str, why: str | None) -> None:
        self.left_out_count += 1
        if len(self.left_out) < 20:
            self.left_out.append(f"{path} ({why})")


class RuntimeSource:
    """The runtime itself: an archive that it has made, sealed, and tried; here it cannot be read."""

    def __init__(self, archive: HostArchive, made_ms: int) -> None:
        self._archive = archive
        self._made_ms = made_ms
        self.left_out: list[str] = []
        self.left_out_count = 0

    def put(self, writer: SealingWriter) -> Iterator[None]:
        """Write it as one file, with a pause for other work after each piece. Raises SourceError and OSError."""
        with self._archive as archive:
            writer.begin(ArchiveEntry(RUNTIME_FILE, "file", 0o600, self._made_ms))
            try:
                for piece in archive.pieces():
                    writer.add(piece)
                    yield
            except Failed as error:
                raise SourceError(error.message) from None
            writer.end()


def damage_of(database: Path) -> str:
    """Return what SQLite finds wrong in a file that is no one else's, in its first words; empty if nothing."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)[:200]


def _is_database(folder: int, name: str) -> bool:
    with suppress(OSError):
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return False
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            return os.read(descriptor, len(_SQLITE)) == _SQLITE
        finally:
            os.close(descriptor)
    return False


def _is_of_source(error: OSError) -> bool:
    """Tell whether an error is of what is read (gone meanwhile, closed to us), and not of the disk of the backup."""
    return isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError)


def _ms(status: os.stat_result) -> int:
    return status.st_mtime_ns // 1_000_000
