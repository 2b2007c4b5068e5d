"""The file of a backup: the state of one component, whole or not at all.

    tlsrt component state 2\\n  {head, as JSON}\\n  ({entry, as JSON}\\n bytes)*  {}\\n  SHA-256 of all before

An entry is a folder, a regular file with the extents that hold data (what lies between is a hole), or a further name of
a file before it. `of` says of which program it is, if it is not of the component itself. Everything else
(links, sockets, pipes, devices) is left out and named. The digest is looked at before anything is read from the file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from tlsrt.config.files import as_config_error, open_folder
from tlsrt.errors import ConfigError
from tlsrt.sandbox import syscalls
from tlsrt.text import printable

_MAGIC = b"tlsrt component state 2\n"
_FIRST = b"tlsrt component state 1\n"  # without programs and further names; as long
_LINE_MAX = 1 << 20
_PIECE = 1 << 20
_DIGEST = 32
_FILES_MOST = 100_000
_EXTENTS_MOST = 10_000  # whose numbers fit into a line
_SIZE_MOST = 1 << 63
_MEANWHILE = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE, errno.EAGAIN, errno.EXDEV)
)  # of what is replaced or removed between two calls, openat2(2)


@dataclass(frozen=True, slots=True)
class Head:
    """Whose state it is: the component, the distribution with its version, and when it was read."""

    component: str
    package: str
    version: str
    made: str
    programs: str = ""  # whose state is in it, too: names between commas


class Changed(Exception):
    """What is read was changed meanwhile: it is to be read again."""


Stamp = tuple[int, int, int, int, int]  # inode, size, mode, and both times of change


def stamps(folder: Path) -> dict[str, Stamp]:
    """Return what tells whether a file below a folder has changed, by path. Raises Changed and ConfigError."""
    with _opened(folder) as within:
        return {
            path: (status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns, status.st_ctime_ns)
            for path, status in _entries(within)
        }


def write_state(out: BinaryIO, head: Head, folder: Path, programs: Mapping[str, Path] | None = None) -> list[str]:
    """Write the state in a folder, and in those of programs; return a line for each thing that is left out.

    Raises Changed and ConfigError for what is read, OSError for the output.
    """
    digest = hashlib.sha256()

    def put(data: bytes) -> None:
        digest.update(data)
        out.write(data)

    put(_MAGIC + json.dumps(asdict(head)).encode() + b"\n")
    left: list[str] = []
    for of, each in {"": folder, **(programs or {})}.items():
        with _opened(each) as within:
            left += _put_folder(put, within, of)
    put(b"{}\n")
    out.write(digest.digest())
    return left


def put_folder(put: Callable[[bytes], None], folder: Path, prefix: str) -> list[str]:
    """Put an entry for each thing below a folder; return a line for each that is left out. Raises Changed, ConfigError.

    Their paths in the file begin with `prefix`.
    """
    with _opened(folder) as within:
        return _put_folder(put, within, "", prefix)


def _put_folder(put: Callable[[bytes], None], within: int, of: str, prefix: str = "") -> list[str]:
    left: list[str] = []
    names: dict[int, str] = {}  # of files with several: inode -> the first
    for path, status in _entries(within):
        entry: dict[str, Any] = {"path": f"{prefix}{path}", "mode": stat.S_IMODE(status.st_mode) & 0o700}
        if of:
            entry["of"] = of
        if stat.S_ISDIR(status.st_mode):
            put(json.dumps({**entry, "kind": "folder"}).encode() + b"\n")
        elif stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_ino in names:
            put(json.dumps({**entry, "kind": "name", "as": f"{prefix}{names[status.st_ino]}"}).encode() + b"\n")
        elif stat.S_ISREG(status.st_mode):
            names[status.st_ino] = path
            _put_file(put, within, path, entry)
        else:
            whose = f" of the program {of}" if of else ""
            left.append(f"{path} ({_kind(status.st_mode)}{whose})")
    return left


def _put_file(put: Callable[[bytes], None], within: int, path: str, entry: dict[str, Any]) -> None:
    with _reading(path):
        descriptor = _open_below(within, path, os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        with _reading(path):
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Changed
            extents = _extents(descriptor, status.st_size)
        put(json.dumps({**entry, "kind": "file", "size": status.st_size, "extents": extents}).encode() + b"\n")
        for offset, length in extents:
            file.seek(offset)
            while length:
                with _reading(path):
                    data = file.read(min(length, _PIECE))
                if not data:
                    raise Changed
                put(data)
                length -= len(data)


def _extents(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Return offset and length of what is no hole, lseek(2); of some holes too, where the line would get too long."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole
                break
            raise
        at = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start < at:
            found.append((start, at - start))
        if len(found) > _EXTENTS_MOST:
            found = halved(found)
    return found


def halved(extents: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return half as many extents, each of two and of the hole between them. Pure."""
    return [
        (one[0], sum(other) - one[0])
        for one, other in zip_longest(extents[::2], extents[1::2], fillvalue=extents[-1])
    ]  # fmt: skip


def _entries(within: int) -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and status of what is below an open folder: each folder before what is in it."""
    waiting, count = ["."], 0
    while waiting:
        here = waiting.pop()
        with _reading(here):
            descriptor = _open_below(within, here, os.O_DIRECTORY)
            try:
                names = sorted(os.listdir(descriptor))
                if (count := count + len(names)) > _FILES_MOST:
                    raise ConfigError(f"the state holds more than {_FILES_MOST} files: no backup is made of so many")
                found = [
                    (
                        os.path.normpath(os.path.join(here, name)),
                        os.stat(name, dir_fd=descriptor, follow_symlinks=False),
                    )
                    for name in names
                ]
            finally:
                os.close(descriptor)
        yield from found
        waiting += [path for path, status in reversed(found) if stat.S_ISDIR(status.st_mode)]


def _open_below(within: int, path: str, flags: int) -> int:
    """Open what is below a folder; that is its component's, so no link in it is followed."""
    resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
    return syscalls.openat2(within, path, os.O_RDONLY | os.O_CLOEXEC | flags, resolve)


@contextmanager
def _opened(folder: Path) -> Generator[int]:
    with as_config_error("read", folder):
        within = open_folder(folder, follow=False)
    try:
        yield within
    finally:
        os.close(within)


@contextmanager
def _reading(path: str) -> Generator[None]:
    """Turn an OSError of the block into Changed or ConfigError."""
    try:
        yield
    except OSError as error:
        if error.errno in _MEANWHILE:
            raise Changed from None
        raise ConfigError(f"cannot read {printable(path, 300)} of the state: {os.strerror(error.errno or 0)}") from None


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device")


# Reading


def read_head_untrusted(file: BinaryIO, name: str) -> Head:
    """Return whose state a file holds, after a look at all of it. Raises ConfigError for anything but a whole one."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(_MAGIC)) not in (_MAGIC, _FIRST):
        raise ConfigError(f"{name} is no backup of a component: name a file that `component backup` has written")
    file.seek(0)
    digest, left = hashlib.sha256(), size - _DIGEST
    while left > 0 and (data := file.read(min(left, _PIECE))):
        digest.update(data)
        left -= len(data)
    if left != 0 or file.read(_DIGEST) != digest.digest():
        raise ConfigError(f"{name} is damaged, or was not written to its end: take another backup")
    file.seek(len(_MAGIC))
    try:
        return Head(**{key: str(value) for key, value in line_of(file).items()})
    except TypeError:
        raise ConfigError(f"{name} is of another version of tlsrt") from None


Place = tuple[Path, int, int]  # an empty folder, and the ids of what is to be in it


def read_state_untrusted(
    file: BinaryIO, folder: Path, uid: int, gid: int, programs: Mapping[str, Place] | None = None
) -> None:
    """Write what stands behind the head into empty folders, as files of their ids. Raises OSError and ConfigError."""
    places: dict[str, Place] = {"": (folder, uid, gid), **(programs or {})}
    made: set[Path] = set()  # regular files
    while entry := line_of(file):
        of = entry.get("of", "")
        if not isinstance(of, str) or of not in places:
            raise ConfigError("the backup has a line that cannot be read")
        folder, uid, gid = places[of]
        path = folder / checked_path(entry.get("path"))
        if entry.get("kind") == "name":
            first = folder / checked_path(entry.get("as"))
            if first not in made:
                raise ConfigError("the backup has a line that cannot be read")
            os.link(first, path, follow_symlinks=False)
            continue
        try:
            mode = int(entry.get("mode", 0)) & 0o700 | 0o600
            size = int(entry.get("size", 0))
            extents = [(int(at), int(length)) for at, length in entry.get("extents", ())]
        except (ValueError, TypeError, OverflowError):
            raise ConfigError("the backup has a line that cannot be read") from None
        if not 0 <= size < _SIZE_MOST or any(at < 0 or length < 0 or at + length > size for at, length in extents):
            raise ConfigError("the backup has a line that cannot be read")
        if entry.get("kind") == "folder":
            os.mkdir(path, mode | 0o100)
        else:
            get_file(file, path, size, extents, mode)
            made.add(path)
        os.chown(path, uid, gid, follow_symlinks=False)


def checked_path(path: object) -> str:
    """Return a path that stays below the folder it is joined to. Raises ConfigError."""
    if isinstance(path, str) and "\0" not in path and not {"", ".", ".."} & {*path.split("/")}:
        with suppress(UnicodeEncodeError):  # half of a character
            os.fsencode(path)
            return path
    raise ConfigError(f"the backup names a file that is none: {path!r}")


def get_file(file: BinaryIO, path: Path, size: int, extents: Sequence[tuple[int, int]], mode: int) -> None:
    """Write the file of an entry, with its holes. Raises OSError and ConfigError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb", buffering=0) as out:
        out.truncate(size)
        for offset, length in extents:
            out.seek(offset)
            while length > 0:
                data = file.read(min(length, _PIECE))
                if not data:
                    raise ConfigError("the backup ends before its last file")
                out.write(data)
                length -= len(data)
        os.fsync(descriptor)


def line_of(file: BinaryIO) -> dict[str, Any]:
    """Return the next line of a backup. Raises ConfigError for one that is none."""
    try:
        found = json.loads(file.readline(_LINE_MAX))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError("the backup has a line that cannot be read")
    return found
