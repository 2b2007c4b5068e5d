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


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, to the disk; what could not be written whole is removed again."""
    with told("write", path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            _write_all(descriptor, data)
            os.fchmod(descriptor, mode)  # exactly, whatever the umask
            os.fsync(descriptor)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)


def replace(path: Path, data: bytes, mode: int) -> None:
    """Replace a file at once: whoever looks, also after a crash, finds the old content or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_new(beside, data, mode)
    with told("replace", path):
        try:
            os.rename(beside, path)
        except BaseException:
            os.unlink(beside)
            raise
    sync_folder(path.parent)


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
