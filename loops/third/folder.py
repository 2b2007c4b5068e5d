"""One flat folder of files with quotas, in which no name can lead anywhere else.

Theory of operation: the folder is held by a descriptor, and each name is opened relative to it with O_NOFOLLOW, so
neither `..`, nor an absolute path, nor a symbolic link, nor a folder swapped by someone else leads out of it. Only
regular files with one link are touched; O_NONBLOCK keeps a planted FIFO from hanging the loop. New content is written
to a hidden file, synced, and renamed over the old one: a reader sees the old file or the new one, and a crash leaves
no half of it. Sizes are counted in memory (this process is the only writer), so a quota costs no directory walk.

All of it, and all that has to do with these files, is used in the component's disk thread only.
"""

from __future__ import annotations

import errno
import heapq
import os
import re
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tlsrt import (
    BoundedTable,
    Busy,
    CallError,
    Denied,
    Failed,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    WhenFull,
)

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,126}")
NAME_RULE = "letters, digits, dot, dash and underscore, not starting with a dot or dash, at most 127"
_PART = ".part-"  # hidden: NAME does not begin with a dot
KEPT = ".up-"  # hidden, and kept when the loop ends: see uploads.py
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # EFBIG: RLIMIT_FSIZE of the sandbox
WRITERS = 16  # contents that come piece by piece; each holds a descriptor and unfinished bytes
WRITERS_SHARE = WRITERS // 4  # of one caller


@dataclass(frozen=True)
class Quota:
    """The limits of a folder."""

    total_bytes: int
    file_bytes: int
    files: int


def check_name(name: str) -> str:
    """Return the name if it may be used; InvalidArgument says what a name looks like."""
    if not NAME.fullmatch(name):
        raise InvalidArgument(f"name: expected {NAME_RULE}")
    return name


@contextmanager
def told(name: str) -> Generator[None, None, None]:
    """Turn an OSError into the CallError that a caller understands."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"no file {name}") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link, a FIFO without a reader, a folder
            raise Denied(f"{name} is not a regular file") from None
        if error.errno in FULL:
            raise Failed(f"the disk is full: {name} was not changed") from None
        raise Failed(f"{name}: {os.strerror(error.errno or 0).lower()}") from None


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: write(2) may take less, as on a full disk."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def confirm(name: str, descriptor: int) -> None:
    """Sync a change that has been made; OutcomeUnknown if that fails, for the disk may have it or not."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise OutcomeUnknown(f"{name}: the disk did not confirm the change ({reason}): read it to see") from None


class OpenFile:
    """A descriptor that is opened when it is first used: in the disk thread, which also closes it."""

    def __init__(self, open_it: Callable[[], int]) -> None:
        self._open_it = open_it
        self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """The descriptor. Raises a CallError."""
        if self._descriptor < 0:
            self._descriptor = self._open_it()
        return self._descriptor

    def read(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes from `offset` on."""
        return os.pread(self.descriptor, length, offset)

    def status(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    def close(self) -> None:
        """Give it back; nothing happens if it was never opened."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Folder:
    """Files by name in one folder. Every failure is a CallError."""

    def __init__(self, path: Path, quota: Quota) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.quota = quota
        self._sizes: dict[str, int] = {}
        self.kept: dict[str, int] = {}  # bytes of each unfinished upload
        self._writers: set[FileWriter] = set()
        self._places: BoundedTable[str, None] = BoundedTable(WRITERS, WRITERS_SHARE, WhenFull.REFUSE)  # by hidden name
        self._number = 0
        self._load()

    def _load(self) -> None:
        """Count what is there, and remove what a crash left unfinished."""
        with os.scandir(self._descriptor) as entries:
            for entry in list(entries):
                if entry.name.startswith(_PART):
                    os.unlink(entry.name, dir_fd=self._descriptor)
                elif entry.name.startswith(KEPT) and entry.is_file(follow_symlinks=False):
                    self.kept[entry.name] = entry.stat(follow_symlinks=False).st_size
                elif NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    self._sizes[entry.name] = entry.stat(follow_symlinks=False).st_size

    def close(self) -> None:
        for writer in list(self._writers):
            writer.abort()
        os.close(self._descriptor)

    @property
    def used_bytes(self) -> int:
        return sum(self._sizes.values()) + sum(self.kept.values()) + sum(writer.size for writer in self._writers)

    def check_new(self, name: str) -> None:
        """Refuse a name that no file can have here."""
        check_name(name)

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, or None if there is none."""
        return self._sizes.get(name)

    def list(self, after: str, limit: int) -> list[tuple[str, os.stat_result]]:
        """Return name and status of up to `limit` files, sorted, those behind `after` only."""
        found: list[tuple[str, os.stat_result]] = []
        for name in heapq.nsmallest(limit, (name for name in self._sizes if name > after)):
            with told(name):
                found.append((name, os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)))
        return found

    def open_read(self, name: str) -> int:
        """Return a descriptor for reading; the caller closes it."""
        return self._open(name, os.O_RDONLY)

    def _open(self, name: str, flags: int) -> int:
        return self._open_hidden(check_name(name), flags)

    def _open_hidden(self, name: str, flags: int) -> int:
        with told(name):
            descriptor = os.open(name, flags | _FLAGS, 0o600, dir_fd=self._descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            os.close(descriptor)
            raise Denied(f"{name} is not a regular file")
        return descriptor

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset` on."""
        descriptor = self.open_read(name)
        try:
            with told(name):
                return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def delete(self, name: str) -> None:
        """Remove a file, or whatever else stands under that name except a folder."""
        with told(check_name(name)):
            os.unlink(name, dir_fd=self._descriptor)
        self._sizes.pop(name, None)
        confirm(name, self._descriptor)

    def append(self, name: str, data: bytes) -> int:
        """Add bytes at the end of a file, made if it is not there; returns its new size. All of them, or none."""
        if check_name(name) not in self._sizes:
            return self.write(name, data)
        self.check_room(name, self._sizes[name], len(data))
        descriptor = self._open(name, os.O_WRONLY | os.O_APPEND)
        try:
            with told(name):
                self._append(name, descriptor, data)
            self._sizes[name] = os.fstat(descriptor).st_size
            return self._sizes[name]
        finally:
            os.close(descriptor)

    def _append(self, name: str, descriptor: int, data: bytes) -> None:
        start = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, data)
            confirm(name, descriptor)
        except (OSError, OutcomeUnknown):
            os.ftruncate(descriptor, start)
            raise

    def check_room(self, name: str, size: int, more: int) -> None:
        """Refuse what would break a quota, before a byte is written. `size` is what the new file has so far."""
        if size + more > self.quota.file_bytes:
            raise Failed(f"{name} would be larger than {self.quota.file_bytes} bytes, the limit for a file")
        if self.used_bytes + more > self.quota.total_bytes:
            raise Failed(f"the folder is full: {self.quota.total_bytes} bytes is the limit for all files")
        if len({name, *self._sizes, *(writer.name for writer in self._writers)}) > self.quota.files:
            raise Failed(f"the folder is full: {self.quota.files} files is the limit")

    def writer(self, name: str, subject: str) -> FileWriter:
        """Begin to write a content that comes piece by piece; Busy if too many are being written."""
        part = self._next_part()
        if not self._places.add(part, None, subject).is_added:
            raise Busy(f"{WRITERS_SHARE} files are being written by one caller, or {WRITERS} by all: try again later")
        try:
            return self._new_writer(name, part)
        except CallError:
            self._places.remove(part)
            raise

    def _next_part(self) -> str:
        self._number += 1
        return f"{_PART}{self._number}"

    def _new_writer(self, name: str, part: str) -> FileWriter:
        with told(check_name(name)):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
            descriptor = os.open(part, flags, 0o600, dir_fd=self._descriptor)
        writer = FileWriter(self, name, part, descriptor)
        self._writers.add(writer)
        return writer

    # Unfinished uploads, by their hidden names

    def open_kept(self, part: str) -> int:
        """Return a descriptor that reads and adds to an unfinished upload, made if it is not there."""
        descriptor = self._open_hidden(part, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self.kept.setdefault(part, os.fstat(descriptor).st_size)
        return descriptor

    def changed_of(self, part: str) -> float:
        """Return when an unfinished upload got its last byte (wall clock, s)."""
        try:
            return os.stat(part, dir_fd=self._descriptor, follow_symlinks=False).st_mtime
        except OSError:
            return 0.0

    def drop_kept(self, part: str) -> None:
        """Remove an unfinished upload."""
        self.kept.pop(part, None)
        with suppress(OSError):
            os.unlink(part, dir_fd=self._descriptor)

    def name_kept(self, part: str, name: str) -> None:
        """Let an unfinished upload be the content of a file. Raises OSError, and then it is still what it was."""
        os.rename(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self._sizes[name] = self.kept.pop(part)
        confirm(name, self._descriptor)

    def write(self, name: str, data: bytes) -> int:
        """Replace the content of a file, made if it is not there; returns its size."""
        with self._new_writer(name, self._next_part()) as writer:  # over at once, so it needs no place
            writer.write(data)
            return writer.commit()

    def settle(self, writer: FileWriter, *, commit: bool) -> None:
        """End a writer: its bytes become the file, or are gone."""
        self._writers.discard(writer)
        self._places.remove(writer.part)
        if not commit:
            with suppress(FileNotFoundError):  # a commit that failed after its rename
                os.unlink(writer.part, dir_fd=self._descriptor)
            return
        os.rename(writer.part, writer.name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self._sizes[writer.name] = writer.size
        confirm(writer.name, self._descriptor)


class FileWriter:
    """New content for one file. Leaving its `with` block before `commit` leaves the old content."""

    def __init__(self, folder: Folder, name: str, part: str, descriptor: int) -> None:
        self._folder = folder
        self.name = name
        self.part = part
        self._descriptor = descriptor
        self._open = True
        self.size = 0

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *reason: object) -> None:
        self.abort()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        if not self._open:  # ended by the folder's close: the descriptor's number may be someone else's now
            raise Failed(f"{self.name}: the folder was closed")
        self._folder.check_room(self.name, self.size, len(data))
        with told(self.name):
            write_all(self._descriptor, data)
        self.size += len(data)

    def commit(self) -> int:
        """Make the content the file's, on the disk; returns its size in bytes."""
        self._folder.check_room(self.name, self.size, 0)
        with told(self.name):
            os.fsync(self._descriptor)
            self._folder.settle(self, commit=True)
        self._close()
        return self.size

    def abort(self) -> None:
        """Drop the content; nothing happens after a commit."""
        if self._open:
            self._folder.settle(self, commit=False)
            self._close()

    def _close(self) -> None:
        self._open = False
        os.close(self._descriptor)


class NewContent:
    """A FileWriter that is made when the content begins: in the disk thread, which also ends it."""

    def __init__(self, folder: Folder, name: str, subject: str) -> None:
        self._folder = folder
        self._name = name
        self._subject = subject
        self._writer: FileWriter | None = None

    def begin(self) -> FileWriter:
        """Return the writer, made if there is none. Raises a CallError."""
        self._writer = self._writer or self._folder.writer(self._name, self._subject)
        return self._writer

    def write(self, data: bytes) -> None:
        self.begin().write(data)

    def commit(self) -> int:
        return self.begin().commit()

    def abort(self) -> None:
        """Drop the content; nothing happens after a commit."""
        if self._writer is not None:
            self._writer.abort()
