"""The size of a folder that a program writes, measured a few files at a time, so that nothing else has to wait.

The program may be captured and changes the folder meanwhile: no link in it is followed, and what it can make of it
costs a step of this, and no more. What was moved past it is not seen, nor what was removed and is open still.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from pathlib import Path

from tlsrt.sandbox import syscalls

AT_ONCE = 200  # entries of one step, some 0.5 ms
ENTRY_BYTES = 4096  # that each counts at least, as it takes an inode and a name
DEPTH_MOST = 16  # two descriptors each
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_MEANWHILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN, errno.EXDEV)  # replaced, or removed


def measured(folder: Path, most: int) -> Generator[None, None, int]:
    """Return the bytes that a folder takes, or the first sum above `most`. Yields between steps. Raises OSError.

    A folder that is nested deeper than `DEPTH_MOST` takes more than there may be, and so does one that is closed to us:
    who writes there may be of our own uid, and has closed it.
    """
    try:
        return (yield from _sum(folder, most))
    except PermissionError:
        return most + 1


def _sum(folder: Path, most: int) -> Generator[None, None, int]:
    total, count = 0, 0
    stack = [_Folder(os.open(folder, _FLAGS | os.O_NOFOLLOW))]
    try:
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
                    stack.append(_Folder(syscalls.openat2(stack[-1].descriptor, entry.name, _FLAGS, _RESOLVE)))
            except OSError as error:
                if error.errno not in _MEANWHILE:
                    raise
            if len(stack) > DEPTH_MOST:
                return most + 1
            if total > most:
                return total
    finally:
        for one in stack:
            one.close()
    return total


def size_of(status: os.stat_result) -> int:
    """Return what one entry counts: of a file with several names each its part. Pure."""
    names = status.st_nlink if stat.S_ISREG(status.st_mode) else 1
    return max(ENTRY_BYTES, status.st_blocks * 512 // max(1, names))


class _Folder:
    """An open folder, which has the descriptor from here on, and what is left of its entries."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        try:
            self.entries = os.scandir(descriptor)
        except OSError:
            os.close(descriptor)
            raise

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)
