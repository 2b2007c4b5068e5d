"""The log files of the processes, read as they grow: only what is in memory, and never through a link."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tlsrt.config.setting import PROCESS
from tlsrt.supervisor.events.log_tail import LogTail
from tlsrt.supervisor.process.logs import read_at_once

READ_BYTES = 64 * 1024  # of one file at one look
BEHIND_BYTES = 512 * 1024  # of one that grows faster the middle is left out
_FILE = re.compile(rf"({PROCESS}|[a-z_]{{1,32}})\.log")


class _Followed:
    """A file, by its inode, and how far it was read."""

    def __init__(self, inode: int, offset: int) -> None:
        self.inode = inode
        self.offset = offset


class LogFiles:
    """All of a folder. What is in them at the beginning was read in another life."""

    def __init__(self, folder: Path, take: Callable[[str, bytes], None]) -> None:
        self._folder = folder
        self._take = take  # a line of a process
        self._files: dict[str, _Followed] = {}
        self.tails: dict[str, LogTail] = {}
        self.is_unreadable = False  # the file system does not say what is in memory
        for name, path in self._found():
            with suppress(OSError):
                status = os.stat(path, follow_symlinks=False)
                self._files[name] = _Followed(status.st_ino, status.st_size)

    def read(self, now: float) -> bool:
        """Give every new line to `take`; tell whether there is more."""
        return sum(self._read(name, path, now) for name, path in self._found()) > 0

    def _found(self) -> list[tuple[str, Path]]:
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        found = ((_FILE.fullmatch(name), name) for name in names)
        return [(match[1], self._folder / name) for match, name in found if match is not None]

    def _read(self, name: str, path: Path, now: float) -> bool:
        try:
            status = os.stat(path, follow_symlinks=False)
            file = self._files.get(name)
            if file is not None and file.inode != status.st_ino and self._read_moved(name, path, file, now):
                return True
            if file is None or file.inode != status.st_ino or file.offset > status.st_size:
                tail = self._tail(name)
                self._give(name, tail.end(now))
                if file is not None and file.inode == status.st_ino:
                    tail.left_out += 1  # it was cut, or its number was given to a new one
                file = self._files[name] = _Followed(status.st_ino, 0)
            return self._read_on(name, path, file, status, now)
        except OSError as error:  # gone meanwhile, or not in memory
            self.is_unreadable = self.is_unreadable or error.errno == errno.EOPNOTSUPP
            return False

    def _read_moved(self, name: str, path: Path, file: _Followed, now: float) -> bool:
        """Read on in a log that was moved away, where the last words of a process are; tell whether there is more."""
        moved, before = path.with_name(f"{path.name}.1"), file.offset
        with suppress(OSError):
            status = os.stat(moved, follow_symlinks=False)
            if status.st_ino == file.inode:
                is_more = self._read_on(name, moved, file, status, now)
                if not is_more or file.offset > before:
                    return is_more
        self._tail(name).left_out += 1  # of how many lines that was the end is not known
        return False

    def _read_on(self, name: str, path: Path, file: _Followed, status: os.stat_result, now: float) -> bool:
        if status.st_size <= file.offset or not stat.S_ISREG(status.st_mode):
            return False
        tail = self._tail(name)
        if status.st_size - file.offset > BEHIND_BYTES:
            file.offset = status.st_size - READ_BYTES
            tail.skip()
        data = self._bytes(path, file)
        file.offset += len(data)
        self._give(name, tail.take(data, now))
        return file.offset < status.st_size

    def _tail(self, name: str) -> LogTail:
        return self.tails.setdefault(name, LogTail())

    def _give(self, name: str, lines: list[bytes]) -> None:
        for line in lines:
            self._take(name, line)

    def _bytes(self, path: Path, file: _Followed) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if os.fstat(descriptor).st_ino != file.inode:
                return b""
            return read_at_once(descriptor, file.offset, READ_BYTES, is_new=True)
        finally:
            os.close(descriptor)
