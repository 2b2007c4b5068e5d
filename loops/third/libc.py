"""Calls of the C library that Python has no function for. Each raises OSError."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_NOREPLACE = 1  # RENAME_NOREPLACE


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def inotify_init() -> int:
    """inotify_init1(2): a descriptor that does not block and is closed by execve."""
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """inotify_add_watch(2). Return the watch."""
    return _checked(_libc.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(mask)))


def rename_new(source: str, target: str, source_folder: int, target_folder: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE: FileExistsError if something is there."""
    _checked(
        _libc.renameat2(
            source_folder, os.fsencode(source), target_folder, os.fsencode(target), ctypes.c_uint(_NOREPLACE)
        )
    )
