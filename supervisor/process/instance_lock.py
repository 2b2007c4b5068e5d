"""The start lock: one tlsrt per state folder.

A start needs the exclusive lock, and then keeps it as a shared one; every child holds a shared one, too: so the lock
is free only when the last process of a life has ended, however it died. flock(2) belongs to the open file, so each
child gets one of its own: a captured one that unlocks what it holds gives up its own share only. The pid in the
file is only for the sentence.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlsrt.errors import EX_UNAVAILABLE, TlsrtError

WAIT_S = 2.0
_LOOK_S = 0.02


class AlreadyRunning(TlsrtError):
    """Another tlsrt holds the lock of this state folder."""

    exit_code = EX_UNAVAILABLE


def host_pid() -> int:
    """Return our pid as the host sees it: our /proc is still that of the host, whatever pid namespace we are in."""
    try:
        return int(os.readlink("/proc/self"))
    except (OSError, ValueError):
        return os.getpid()


def take_lock(path: Path, *, wait_s: float = WAIT_S) -> int:
    """Return the descriptor that holds the lock; raise AlreadyRunning after `wait_s` seconds.

    Read-only; no other process gets this descriptor, see `shared_lock`.
    """
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644))
    descriptor = os.open(path, os.O_RDONLY | flags)
    end = time.monotonic() + wait_s
    while not _try_lock(path, descriptor):
        if time.monotonic() >= end:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise AlreadyRunning(f"tlsrt is already running here{holder}: stop it with `tlsrt-supervisor stop` first")
        time.sleep(_LOOK_S)
    return descriptor


@contextmanager
def shared_lock(lock: int) -> Iterator[int]:
    """Open the file of `lock` anew and share the lock, for one child that is forked meanwhile. Raises OSError."""
    descriptor = os.open(f"/proc/self/fd/{lock}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether a process of a life holds the lock; a free one is taken for that moment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _try_lock(path: Path, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_holder(path)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # another start may win in between: then this one waits
    except BlockingIOError:
        return False
    return True


def _write_holder(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"{host_pid()}\n".encode())
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).strip()
    return f" (pid {int(text)})" if text.isdigit() else ""
