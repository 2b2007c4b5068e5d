"""Stops one thread of a process, as a disk does that does not answer: ptrace(2), which needs root for a foreign uid."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000


def thread_of(pid: int, name: str) -> int:
    """Return the thread of a process that has this name."""
    tasks = Path(f"/proc/{pid}/task")
    (found,) = (task for task in tasks.iterdir() if (task / "comm").read_text() == f"{name}\n")
    return int(found.name)


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """Stop a thread; it goes on at the end."""
    _ptrace(_SEIZE, thread)
    try:
        _ptrace(_INTERRUPT, thread)
        os.waitpid(thread, _WALL)  # until it has stopped
        yield
    finally:
        _ptrace(_DETACH, thread)


def _ptrace(request: int, thread: int) -> None:
    call = _libc.ptrace
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    call.restype = ctypes.c_long
    if call(request, thread, None, None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
