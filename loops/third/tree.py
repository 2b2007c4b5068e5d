"""One tree of folders and files, in which no path and no race leads anywhere else.

Theory of operation: the tree is held by a descriptor. A path is walked from it one name at a time, each folder opened
relative to the one before with O_NOFOLLOW, so a symbolic link anywhere in it is refused, and a folder that is renamed
or replaced meanwhile changes nothing: what was opened is what is used. openat2(2) with RESOLVE_BENEATH would do the
same in one call, but its flags lie in memory where no seccomp filter sees them, so the filter of a loop has it absent
(decision 57). Each step must be on the file system of the tree: a mount below it is refused.

Only regular files with one name are opened: another name of a file may be anywhere. What stands there is looked at
before it is opened, so that no device or FIFO is touched, and again afterwards. New content is written in a folder of
the tree's own, synced, and renamed to its place.

All of it is used in the component's disk thread only.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tlsrt import Conflict, Denied, Failed, InvalidArgument, NotFound, OutcomeUnknown, Unavailable
from tlsrt.loops.third.folder import Quota, confirm, told, write_all
from tlsrt.loops.third.libc import rename_new
from tlsrt.loops.third.staging import Staging
from tlsrt.loops.third.tree_path import OWN, why_no_name
from tlsrt.loops.third.tree_rules import Rules
from tlsrt.loops.third.tree_usage import TreeUsage

LISTED_MAX = 100_000  # names of one folder that are looked at
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Page = tuple[list[dict[str, Any]], int]


class Tree:
    """Folders and files below one path. `names` are those of a path below it. Every failure is a CallError."""

    def __init__(self, label: str, path: Path, rules: Rules) -> None:
        self.label = label
        self.path = path
        self.rules = rules
        self._staging = Staging()
        self.kept = self._staging.kept
        self.usage = TreeUsage(self)
        self._descriptor = -1
        self._device = 0

    def open(self) -> str | None:
        """Take hold of the tree; return why that cannot be. Nothing of it is changed before something is written."""
        try:
            self._descriptor = os.open(self.path, _FOLDER)
            self._device = os.fstat(self._descriptor).st_dev
            if self.rules.can_write:
                self._staging.load(self._descriptor)
        except OSError as error:
            self.close()
            return os.strerror(error.errno or 0).lower()
        return None

    def close(self) -> None:
        self._staging.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def quota(self) -> Quota:
        return self.rules.quota

    def _text(self, names: Sequence[str]) -> str:
        return "/".join((self.label, *names))

    @property
    def is_there(self) -> bool:
        """Whether it was opened, and has not been removed since."""
        return self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink > 0

    def _root(self) -> int:
        if not self.is_there:
            raise Unavailable(
                f"tree {self.label}: its folder is not there; when it is again, restart the component's process"
            )
        return self._descriptor

    @contextmanager
    def folder(self, names: Sequence[str], flags: int = _FOLDER) -> Generator[int, None, None]:
        """Give the descriptor of a folder, as long as the block."""
        held = -1
        try:
            at = self._root()
            for number in range(1, len(names) + 1):
                following = self._step(at, names[:number], flags if number == len(names) else _WAY)
                if held >= 0:
                    os.close(held)
                at = held = following
                if os.fstat(at).st_dev != self._device:
                    raise Denied(f"{self._text(names[:number])} is another file system, which was not granted")
            yield at
        finally:
            if held >= 0:
                os.close(held)

    def _step(self, at: int, names: Sequence[str], flags: int) -> int:
        try:
            return os.open(names[-1], flags, dir_fd=at)
        except FileNotFoundError:
            raise NotFound(f"no folder {self._text(names)}") from None
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise Denied(f"{self._text(names)} is no folder") from None
            raise Failed(f"{self._text(names)}: {os.strerror(error.errno or 0).lower()}") from None

    # Reading

    def status(self, names: Sequence[str]) -> os.stat_result:
        """Return what stands under a path, a link itself."""
        if not names:
            return os.fstat(self._root())
        with self.folder(names[:-1], _WAY) as at, told(self._text(names)):
            return os.stat(names[-1], dir_fd=at, follow_symlinks=False)

    def list(self, names: Sequence[str], after: str, limit: int) -> Page:
        """Return up to `limit` entries behind a name, sorted, and how many have a name that none can say here."""
        with self.folder(names) as at:
            return self.list_open(at, names, after, limit)

    def list_open(self, at: int, names: Sequence[str], after: str, limit: int) -> Page:
        """Do what `list` does, for an open folder."""
        there, skipped = [], 0
        with told(self._text(names)), os.scandir(at) as entries:
            for number, entry in enumerate(entries):
                if number >= LISTED_MAX:
                    raise Failed(f"{self._text(names)} has more than {LISTED_MAX} entries: divide it into folders")
                if not why_no_name(entry.name):
                    there.append(entry.name)
                else:
                    skipped += not entry.name.startswith(OWN)
        found = []
        for name in heapq.nsmallest(limit, (one for one in there if one > after)):
            with suppress(FileNotFoundError):  # removed meanwhile
                found.append({"name": name, **shown(os.stat(name, dir_fd=at, follow_symlinks=False))})
        return found, skipped

    def open_read(self, path: str) -> int:
        """Return a descriptor for reading a file; the caller closes it."""
        names = path.split("/")
        with self.folder(names[:-1], _WAY) as at:
            return self._open(at, names, os.O_RDONLY)

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Return up to `length` bytes of a file from `offset` on."""
        descriptor = self.open_read(path)
        try:
            with told(self._text((path,))):
                return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def _open(self, at: int, names: Sequence[str], flags: int) -> int:
        text = self._text(names)
        with told(text):
            self._check(os.stat(names[-1], dir_fd=at, follow_symlinks=False), text)
            descriptor = os.open(names[-1], flags | _FLAGS, dir_fd=at)
        try:
            self._check(os.fstat(descriptor), text)
        except Denied:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, status: os.stat_result, text: str) -> None:
        if not stat.S_ISREG(status.st_mode) or status.st_dev != self._device:
            raise Denied(f"{text} is not a regular file")
        if status.st_nlink != 1:
            raise Denied(f"{text} has another name, which may be anywhere: copy it to a new file")

    # Writing

    def check_new(self, path: str) -> None:
        """Refuse a file where none can be written."""
        if not self.rules.can_write:
            raise Denied(f"tree {self.label} is there to be read")
        if not path:
            raise InvalidArgument(f"path: {self.label} is the tree; say which file in it")

    def size_of(self, path: str) -> int | None:
        """Return the bytes of a file, or None if there is none. Raises a CallError where none could be."""
        names = path.split("/")
        try:
            with self.folder(names[:-1], _WAY) as at:
                return self._size_at(at, names)
        except NotFound as error:
            raise InvalidArgument(f"path: {error}; mkdir makes it") from None

    def _size_at(self, at: int, names: Sequence[str]) -> int | None:
        try:
            status = os.stat(names[-1], dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return None
        self._check(status, self._text(names))
        return status.st_size

    def check_room(self, path: str, size: int, more: int) -> None:
        """Refuse what would break a quota, before a byte is written. `size` is what the new file has so far."""
        quota, text = self.quota, self._text((path,))
        if size + more > quota.file_bytes:
            raise Failed(f"{text} would be larger than {quota.file_bytes} bytes, the limit for a file")
        if self.usage.bytes + sum(self.kept.values()) + more > quota.total_bytes:
            raise Failed(f"tree {self.label} is full: {quota.total_bytes} bytes is the limit for all its files")
        if self.usage.files + len(self.kept) >= quota.files and self.size_of(path) is None:
            raise Failed(f"tree {self.label} is full: {quota.files} files is the limit")
        disk = os.fstatvfs(self._root())
        if disk.f_bavail * disk.f_frsize - more < self.rules.keep_free_bytes:
            raise Failed(f"the disk of tree {self.label} is nearly full: {text} was not changed")

    def write(self, path: str, data: bytes) -> int:
        """Replace the content of a file, made if it is not there; returns its size."""
        self.check_new(path)
        self.size_of(path)
        self.check_room(path, 0, len(data))
        with told(self._text((path,))):
            part, descriptor = self._staging.new()
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
                self._put_in_place(part, path, descriptor, len(data))
            except BaseException:
                self._staging.drop(part)
                raise
            finally:
                os.close(descriptor)
        return len(data)

    def _put_in_place(self, part: str, path: str, descriptor: int, size: int) -> None:
        """Let a synced file of the staging folder be the file of a path. Raises OSError or a CallError."""
        names = path.split("/")
        with self.folder(names[:-1]) as at:
            before, mode = self._size_at(at, names), self.rules.mode
            if before is not None:
                mode = stat.S_IMODE(os.stat(names[-1], dir_fd=at, follow_symlinks=False).st_mode) & 0o777
            os.fchmod(descriptor, mode)
            os.rename(part, names[-1], src_dir_fd=self._staging.descriptor, dst_dir_fd=at)
            self.usage.change(size - (before or 0), before is None)
            confirm(self._text(names), at)

    def append(self, path: str, data: bytes) -> int:
        """Add bytes at the end of a file, made if it is not there; returns its new size. All of them, or none."""
        self.check_new(path)
        size = self.size_of(path)
        if size is None:
            return self.write(path, data)
        self.check_room(path, size, len(data))
        names = path.split("/")
        with self.folder(names[:-1], _WAY) as at:
            descriptor = self._open(at, names, os.O_WRONLY | os.O_APPEND)
        try:
            with told(self._text(names)):
                start = os.fstat(descriptor).st_size
                try:
                    write_all(descriptor, data)
                    confirm(self._text(names), descriptor)
                except (OSError, OutcomeUnknown):
                    os.ftruncate(descriptor, start)
                    raise
                self.usage.change(len(data), False)
                return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def make_folder(self, names: Sequence[str]) -> bool:
        """Make a folder; return whether it is new."""
        self.check_new("/".join(names))
        with self.folder(names[:-1]) as at, told(self._text(names)):
            try:
                os.mkdir(names[-1], 0o700, dir_fd=at)
            except FileExistsError:
                if not stat.S_ISDIR(os.stat(names[-1], dir_fd=at, follow_symlinks=False).st_mode):
                    raise Conflict(f"{self._text(names)} is there, and is no folder") from None
                return False
            made = self._step(at, names, _FOLDER)
            try:
                os.fchmod(made, self.rules.mode | (self.rules.mode & 0o444) >> 2)
            finally:
                os.close(made)
            confirm(self._text(names), at)
        return True

    def remove(self, names: Sequence[str]) -> None:
        """Remove a file, a link or the like itself, or a folder that is empty."""
        self.check_new("/".join(names))
        text = self._text(names)
        with self.folder(names[:-1]) as at, told(text):
            status = os.stat(names[-1], dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                try:
                    os.rmdir(names[-1], dir_fd=at)
                except OSError as error:
                    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                        raise Conflict(f"{text} is not empty: remove what is in it first") from None
                    raise
            else:
                os.unlink(names[-1], dir_fd=at)
                if stat.S_ISREG(status.st_mode):
                    self.usage.change(-status.st_size, False, -1)
            confirm(text, at)

    def move(self, source: Sequence[str], target: Sequence[str], *, replace: bool) -> None:
        """Give a file or folder another path; with `replace` a file may take another one's place."""
        self.check_new("/".join(source))
        self.check_new("/".join(target))
        old, new = self._text(source), self._text(target)
        if len(target) > len(source) and tuple(target[: len(source)]) == tuple(source):
            raise InvalidArgument(f"to: {new} lies in {old}")
        with self.folder(source[:-1]) as one, self.folder(target[:-1]) as other, told(old):
            status = os.stat(source[-1], dir_fd=one, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._check(status, old)
            if not replace:
                try:
                    rename_new(source[-1], target[-1], one, other)
                except FileExistsError:
                    raise Conflict(f"{new} is there already: `replace` takes its place") from None
            else:
                before = self._size_at(other, target)
                os.rename(source[-1], target[-1], src_dir_fd=one, dst_dir_fd=other)
                if before is not None and source != target:
                    self.usage.change(-before, False, -1)
            confirm(new, other)
            confirm(old, one)

    # Unfinished uploads, by their hidden names

    def open_kept(self, part: str) -> int:
        """Return a descriptor that reads and adds to an unfinished upload, made if it is not there."""
        with told(part):
            descriptor = self._staging.open(part, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            status = os.fstat(descriptor)
            self._check(status, part)
        except Denied:
            os.close(descriptor)
            raise
        self.kept[part] = status.st_size
        return descriptor

    def changed_of(self, part: str) -> float:
        """Return when an unfinished upload got its last byte (wall clock, s)."""
        return self._staging.changed_of(part)

    def drop_kept(self, part: str) -> None:
        """Remove an unfinished upload."""
        self._staging.drop(part)

    def name_kept(self, part: str, name: str) -> None:
        """Let an unfinished upload be the content of a file. Raises OSError, and then it is still what it was."""
        descriptor = self._staging.open(part, os.O_RDWR)
        try:
            size = self.kept.pop(part)
            try:
                self._put_in_place(part, name, descriptor, size)
            except OutcomeUnknown:
                raise
            except BaseException:
                self.kept[part] = size
                raise
        finally:
            os.close(descriptor)


def shown(status: os.stat_result) -> dict[str, Any]:
    """Return what is told of a file: kind, size in bytes (None for what is no file), last change (wall clock, ms)."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "other")
    return {
        "kind": kind,
        "size_bytes": status.st_size if kind == "file" else None,
        "changed_wall_ms": status.st_mtime_ns // 1_000_000,
    }
