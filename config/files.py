"""Files, read and written so that an error leaves a clear state and a clear sentence.

Files by path are the operator's. Their functions raise ConfigError, `cannot VERB PATH: reason`, for every OSError:

    as_config_error         the same for a block of statements
    write_new, replace      a whole file on the disk, as a new one or in place of another
    move, sync_folder       a name that lasts
    read_bounded            a regular file of at most so many bytes
    open_regular, owner_of

Files in an open folder are ours. Their functions, and those of a descriptor, raise OSError:

    open_folder, create_in, rename_in      create and rename are together what `replace` is
    write_all, read_up_to
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlsrt.errors import ConfigError

Owner = tuple[int, int]  # uid and gid

_PIECE = 1 << 18  # bytes that one read asks for, and takes memory for
_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def as_config_error(verb: str, path: Path) -> Generator[None]:
    """Turn an OSError of the block into `cannot VERB PATH: reason`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot {verb} {path}: {error.strerror or error}") from None


# By path


def write_new(path: Path, data: bytes, mode: int, owner: Owner | None = None) -> None:
    """Write a file that must not exist yet, to the disk; what is not whole is removed again.

    With `owner` it belongs to them, which takes root unless it is us.
    """
    with as_config_error("write", path):
        descriptor = os.open(path, os.O_WRONLY | _CREATE, 0o600)
        try:
            write_all(descriptor, data)
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
    """Replace a file at once: a reader finds the old content or the new one, also after a crash."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    write_new(beside, data, mode, owner)
    try:
        move(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def move(path: Path, target: Path) -> None:
    """Put a file in the place of another, to last: a reader finds one or the other (rename(2))."""
    with as_config_error("replace", target):
        os.rename(path, target)
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file, to last. Raises ConfigError."""
    with as_config_error("remove", path):
        os.unlink(path)
    sync_folder(path.parent)


def is_at(descriptor: int, path: Path) -> bool:
    """Tell whether what is open is what lies there: who had its lock before may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last (fsync(2) of a file does not promise its name)."""
    with as_config_error("write", folder):
        descriptor = open_folder(folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def owner_of(path: Path) -> Owner:
    """Return the uid and gid of a file."""
    with as_config_error("check", path):
        return _owner(os.stat(path))


def token_mode(token: Path) -> int:
    """Return the mode of the next boot token, no secret: one that a service's user may read stays so."""
    try:
        return 0o644 if os.stat(token).st_mode & 0o004 else 0o600
    except OSError:
        return 0o600


def _owner(status: os.stat_result) -> Owner:
    return status.st_uid, status.st_gid


def read_bounded(path: Path, limit: int, what: str, *, follow: bool = True, within: int | None = None) -> bytes:
    """Return the bytes of a regular file, at most `limit`; never waits on a fifo or device."""
    descriptor = open_regular(path, what, follow=follow, within=within)
    try:
        with as_config_error("read", path):
            data = read_up_to(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise ConfigError(f"{what} {path} is larger than {limit} bytes")
    return data


def open_regular(path: Path, what: str, *, follow: bool = True, within: int | None = None) -> int:
    """Return a read-only descriptor of a regular file; never waits on a fifo or device.

    Within an open folder only the last name of the path is looked up, there.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    with as_config_error("read", path):
        descriptor = os.open(path if within is None else path.name, flags, dir_fd=within)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{what} {path} is not a regular file")
    return descriptor


# In an open folder, and by descriptor


def open_folder(path: Path | str, *, follow: bool = True, within: int | None = None) -> int:
    """Return a descriptor of a folder, perhaps in another one. Raises OSError, also if it is no folder."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    return os.open(path, flags, dir_fd=within)


def create_in(folder: int, name: str, data: bytes, flags: int = 0) -> int:
    """Return a new file (0600) with its bytes on the disk; an unfinished one of before is removed."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    descriptor = os.open(name, os.O_WRONLY | _CREATE | flags, 0o600, dir_fd=folder)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def rename_in(folder: int, name: str, target: str) -> None:
    """Put a file in the place of another in the same folder, to last (rename(2))."""
    os.rename(name, target, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` to a blocking descriptor: write(2) may take less, as on a full disk."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_up_to(descriptor: int, limit: int) -> bytes:
    """Return the first bytes of a file, at most `limit` of them, wherever its offset is."""
    data = bytearray()
    while len(data) < limit and (piece := os.pread(descriptor, min(limit - len(data), _PIECE), len(data))):
        data += piece
    return bytes(data)
