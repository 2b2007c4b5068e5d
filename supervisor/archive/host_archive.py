"""The file of a host's backup: sections of files, whole or not at all.

    tlsrt host backup 1\n  {head, as JSON}\n  ({entry, as JSON}\n bytes)*  {}\n  SHA-256 of all before  MAC of that

An entry is a folder or a regular file, named by its section and a path below that. Everything else (links, sockets,
pipes, devices) is left out and named. Owners are not in it: whose a file is says its section. The digest shows damage.
The MAC shows that a holder of the host's master key has written it; it is zero where the key was not at hand.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tlsrt.config.files import as_config_error
from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive.state_file import checked_path, get_file, line_of, put_folder

MAGIC = b"tlsrt host backup 1\n"
KEYS_MAGIC = b"tlsrt host keys 1\n"
_PIECE = 1 << 20
_DIGEST = 32
_NO_MAC = bytes(_DIGEST)
CONFIG, CONFIG_DROP_INS, DROP_INS = "config", "config.d", "components.d"
FILES, STATE, KEYS = "files", "state", "keys"
PACKAGES = "packages"  # of isolated components


@dataclass(frozen=True, slots=True)
class HostHead:
    """Whose backup it is: the host by the id of its installation, the version of tlsrt, and when it was made."""

    install: str
    version: str
    made: str
    configuration: str  # the name of its file
    sections: list[str] = field(default_factory=list[str])


class Mark(NamedTuple):
    """A point in an archive that is being written."""

    at: int
    digest: hashlib._Hash
    left_out: int


class ArchiveWriter:
    """Writes one archive; `finish` ends it."""

    def __init__(self, out: BinaryIO, head: HostHead, magic: bytes = MAGIC) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        self.left_out: list[str] = []
        self.put(magic + json.dumps(asdict(head)).encode() + b"\n")

    def put(self, data: bytes) -> None:
        """Write bytes, which count for the digest."""
        self._digest.update(data)
        self._out.write(data)

    def add_file(self, section: str, name: str, data: bytes) -> None:
        """Add a small file by its content."""
        extents = [(0, len(data))] if data else []
        entry = {"path": f"{section}/{name}", "mode": 0o600, "kind": "file", "size": len(data), "extents": extents}
        self.put(json.dumps(entry).encode() + b"\n" + data)

    def add_entry(self, section: str) -> None:
        """Add a folder without what is in it."""
        self.put(json.dumps({"path": section, "mode": 0o700, "kind": "folder"}).encode() + b"\n")

    def add_folder(self, section: str, folder: Path) -> None:
        """Add a folder and what is below it. Raises Changed and ConfigError."""
        self.add_entry(section)
        self.left_out += [f"{section}/{line}" for line in put_folder(self.put, folder, f"{section}/")]

    def mark(self) -> Mark:
        """Return what leads back to here."""
        return Mark(self._out.tell(), self._digest.copy(), len(self.left_out))

    def back_to(self, mark: Mark) -> None:
        """Forget what was written since then."""
        self._out.seek(mark.at)
        self._out.truncate()
        self._digest = mark.digest.copy()
        del self.left_out[mark.left_out :]

    def finish(self, mac_key: bytes | None) -> None:
        """Write the end."""
        self.put(b"{}\n")
        digest = self._digest.digest()
        self._out.write(digest)
        self._out.write(_NO_MAC if mac_key is None else _mac(mac_key, digest))


def _mac(key: bytes, digest: bytes) -> bytes:
    return hmac.digest(key, b"tlsrt/host-backup/v1\0" + digest, "sha256")


# Reading


@dataclass(frozen=True, slots=True)
class Verified:
    """An archive that is whole; `is_ours` tells whether its MAC is right, None where it was not looked at."""

    head: HostHead
    is_ours: bool | None
    has_mac: bool
    at: int  # where its entries begin


def verify_untrusted(file: BinaryIO, name: str, mac_key: bytes | None, magic: bytes = MAGIC) -> Verified:
    """Look at all of a file. Raises ConfigError for anything but a whole archive."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(magic)) != magic:
        raise ConfigError(f"{name} is no backup of a host: name a file that `backup create` has written")
    file.seek(0)
    digest, left = hashlib.sha256(), size - 2 * _DIGEST
    while left > 0 and (data := file.read(min(left, _PIECE))):
        digest.update(data)
        left -= len(data)
    end = file.read(2 * _DIGEST)
    found = digest.digest()
    if left != 0 or len(end) != 2 * _DIGEST or not hmac.compare_digest(end[:_DIGEST], found):
        raise ConfigError(f"{name} is damaged, or was not written to its end: take another backup")
    has_mac = end[_DIGEST:] != _NO_MAC
    is_ours = None if mac_key is None or not has_mac else hmac.compare_digest(end[_DIGEST:], _mac(mac_key, found))
    if is_ours is False:
        raise ConfigError(
            f"{name} was not written with this master_key, or was edited: name another backup, or the right keys"
        )
    file.seek(len(magic))
    return Verified(_head(line_of(file), name), is_ours, has_mac, file.tell())


def _head(tree: dict[str, Any], name: str) -> HostHead:
    words = ("install", "version", "made", "configuration")
    sections = tree.get("sections")
    is_right = all(isinstance(tree.get(word), str) and len(tree[word]) < 256 for word in words)
    if not is_right or not isinstance(sections, list) or not all(isinstance(one, str) for one in sections):
        raise ConfigError(f"{name} is of another version of tlsrt")
    configuration = tree["configuration"]
    if checked_path(configuration) != configuration or "/" in configuration:
        raise ConfigError(f"{name} names a configuration that is no file: {configuration!r}")
    return HostHead(**{word: tree[word] for word in words}, sections=sections)


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One entry: its section, the path below it, and how to write it."""

    section: str
    path: str
    is_folder: bool
    size: int
    extents: list[tuple[int, int]]
    mode: int
    first: str = ""  # of a further name of a file: the path of that, below the section


def entries_untrusted(file: BinaryIO) -> Iterator[ArchiveEntry]:
    """Yield entry after entry; its content has to be read or passed over before the next. Raises ConfigError."""
    while tree := line_of(file):
        path = checked_path(tree.get("path"))
        section, below = _split(path)
        if tree.get("kind") == "name":
            where, first = _split(checked_path(tree.get("as")))
            if where != section or not first or not below:
                raise ConfigError(f"the backup names a thing that is no file: {path!r}")
            yield ArchiveEntry(section, below, False, 0, [], 0, first)
            continue
        try:
            size, mode = int(tree.get("size", 0)), int(tree.get("mode", 0))
            extents = [(int(at), int(length)) for at, length in tree.get("extents", ())]
        except (ValueError, TypeError, OverflowError):
            raise ConfigError("the backup has a line that cannot be read") from None
        if not 0 <= size < 1 << 63 or any(at < 0 or length < 0 or at + length > size for at, length in extents):
            raise ConfigError("the backup has a line that cannot be read")
        if tree.get("kind") not in ("file", "folder"):
            raise ConfigError(f"the backup names a thing that is no file: {path!r}")
        yield ArchiveEntry(section, below, tree["kind"] == "folder", size, extents, mode & 0o700)


def _split(path: str) -> tuple[str, str]:
    """Return the section of a path, with the process for state, and what is below it."""
    section, _, below = path.partition("/")
    if section == STATE:
        process, _, below = below.partition("/")
        section = f"{STATE}/{process}"
    return section, below


def read_entry(file: BinaryIO, entry: ArchiveEntry, most: int) -> bytes:
    """Return the content of a small file. Raises ConfigError."""
    if entry.is_folder or entry.first or entry.size > most or entry.extents not in ([], [(0, entry.size)]):
        raise ConfigError(f"the backup has no small file at {entry.section}/{entry.path}")
    data = file.read(entry.size)
    if len(data) != entry.size:
        raise ConfigError("the backup ends before its last file")
    return data


def skip_entry(file: BinaryIO, entry: ArchiveEntry) -> None:
    """Pass over the content of an entry."""
    file.seek(sum(length for _, length in entry.extents), os.SEEK_CUR)


def write_entry(
    file: BinaryIO, entry: ArchiveEntry, folder: Path, owner: tuple[int, int], made: set[Path]
) -> None:  # fmt: skip
    """Write an entry below the folder of its section, as a file of these ids. Raises ConfigError.

    `made` are the files of this archive, which alone can have further names.
    """
    path = folder / entry.path
    with as_config_error("write", path):
        if entry.first:
            if folder / entry.first not in made:
                raise ConfigError("the backup has a line that cannot be read")
            os.link(folder / entry.first, path, follow_symlinks=False)
            return
        if entry.is_folder:
            os.mkdir(path, entry.mode | 0o700)
        else:
            get_file(file, path, entry.size, entry.extents, entry.mode | 0o600)
            made.add(path)
        os.chown(path, *owner, follow_symlinks=False)
