"""Removal of a folder that others have filled: however deep, without rights for its owner, and no link followed.

shutil.rmtree holds a descriptor for each level (and on Python 3.11 a call), so a deep enough folder is never removed.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def remove_tree(path: Path | str) -> None:
    """Remove what is at a path. Raises OSError, also where a folder is moved meanwhile."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    above: list[tuple[os.stat_result, str, list[str]]] = []  # each folder, where we are in it, and what is yet to do
    here = _opened(path, None)
    try:
        waiting = _cleared(here)
        while waiting or above:
            if waiting:
                name = waiting.pop()
                above.append((os.fstat(here), name, waiting))
                here = _exchanged(here, _opened(name, here))
                waiting = _cleared(here)
            else:
                status, name, waiting = above.pop()
                here = _exchanged(here, os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here))
                if not os.path.samestat(status, os.fstat(here)):
                    raise OSError(errno.EBUSY, "a folder was moved while it was removed")
                os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(path)


def _cleared(folder: int) -> list[str]:
    """Remove the files and empty folders of a folder; return the names of the others."""
    left: list[str] = []
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=folder)  # also one that we may not read
            except OSError:
                left.append(name)
    return left


def _exchanged(old: int, new: int) -> int:
    os.close(old)
    return new


def _opened(path: Path | str, within: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, dir_fd=within)
    except PermissionError:  # which root does not meet: it changes nothing by a name
        os.chmod(path, 0o700, dir_fd=within)
        descriptor = os.open(path, flags, dir_fd=within)
    try:
        os.fchmod(descriptor, 0o700)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
