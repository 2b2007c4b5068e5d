"""The size of a folder that a program writes, measured a few files at a time, so that nothing else has to wait.

The program may be captured and changes the folder meanwhile: no link in it is followed, and what it can make of it
costs a step of this, and no more. What was moved past it is not seen, nor what was removed and is open still.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

from tlsrt.sandbox import syscalls

AT_ONCE = 200  # entries of one step, some 0.5 ms
ENTRY_BYTES = 4096  # that each counts at least, as it takes an inode and a name
DEPTH_MOST = 48
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_MEANWHILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN, errno.EXDEV)  # replaced, or removed


def measured(folder: Path, most: int) -> Generator[None, None, int]:
    """Return the bytes that a folder takes, or the first sum above `most`. Yields between steps. Raises OSError.

    A folder that is nested deeper than `DEPTH_MOST` takes more than there may be.
    """
    total, count = 0, 0
    with ExitStack() as opened:
        stack = [_Folder(os.open(folder, _FLAGS | os.O_NOFOLLOW), opened)]
        while stack:
            entry = next(stack[-1].entries, None)
            if entry is None:
                stack.pop().close()
                continue
            count += 1
            if count % AT_ONCE == 0:
                yield
            try:
                status = entry.stat(follow_symlinks=False)
                total += size_of(status)
                if stat.S_ISDIR(status.st_mode):
                    below = syscalls.openat2(stack[-1].descriptor, entry.name, _FLAGS, _RESOLVE)
                    stack.append(_Folder(below, opened))
            except OSError as error:
                if error.errno not in _MEANWHILE:
                    raise
            if len(stack) > DEPTH_MOST:
                return most + 1
            if total > most:
                return total
    return total


def size_of(status: os.stat_result) -> int:
    """Return what one entry counts: of a file with several names each its part. Pure."""
    names = status.st_nlink if stat.S_ISREG(status.st_mode) else 1
    return max(ENTRY_BYTES, status.st_blocks * 512 // max(1, names))


class _Folder:
    """An open folder and what is left of its entries; closed at the latest with `opened`."""

    def __init__(self, descriptor: int, opened: ExitStack) -> None:
        self.descriptor = descriptor
        self._closing = ExitStack()
        opened.push(self._closing)
        self._closing.callback(os.close, descriptor)
        self.entries: Iterator[os.DirEntry[str]] = self._closing.enter_context(os.scandir(descriptor))

    def close(self) -> None:
        self._closing.close()
