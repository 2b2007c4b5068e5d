"""Files of the operator, written and read so that a mistake or a full disk leaves one clear sentence.

Every OSError becomes a ConfigError that names the file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tlsrt.errors import ConfigError


@contextmanager
def told(verb: str, path: Path) -> Generator[None]:
    """Turn an OSError of the block into `cannot VERB PATH: reason`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot {verb} {path}: {error.strerror or error}") from None


Owner = tuple[int, int]  # uid and gid


def write_new(path: Path, data: bytes, mode: int, owner: Owner | None = None) -> None:
    """Write a file that must not exist yet, to the disk; what could not be written whole is removed again.

    With `owner` it belongs to them, which takes root unless it is us.
    """
    with told("write", path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            _write_all(descriptor, data)
            if owner is not None and owner != _owner(os.fstat(descriptor)):
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)  # exactly, whatever the umask
            os.fsync(descriptor)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)


def replace(path: Path, data: bytes, mode: int, owner: Owner | None = None) -> None:
    """Replace a file at once: whoever looks, also after a crash, finds the old content or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    write_new(beside, data, mode, owner)
    try:
        move(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def move(path: Path, target: Path) -> None:
    """Put a file in the place of another, to last: whoever looks finds the one or the other (rename(2))."""
    with told("replace", target):
        os.rename(path, target)
    sync_folder(target.parent)


def owner_of(path: Path) -> Owner:
    """Return who owns a file."""
    with told("look at", path):
        return _owner(os.stat(path))


def _owner(status: os.stat_result) -> Owner:
    return status.st_uid, status.st_gid


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last (fsync(2) of a file does not promise its name)."""
    with told("write", folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_bounded(path: Path, limit: int, what: str) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes; never waits on a fifo or device."""
    descriptor = open_regular(path, what)
    try:
        with told("read", path):
            data = _read_up_to(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise ConfigError(f"{what} {path} is larger than {limit} bytes")
    return data


def open_regular(path: Path, what: str, *, follow: bool = True) -> int:
    """Return a read-only descriptor of a regular file; never waits on a fifo or device."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    with told("read", path):
        descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{what} {path} is not a regular file")
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_up_to(descriptor: int, limit: int) -> bytes:
    data = bytearray()
    while len(data) < limit and (piece := os.pread(descriptor, limit - len(data), len(data))):
        data += piece
    return bytes(data)
