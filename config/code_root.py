"""Measured roots: a folder of code, or a module of one file, and how its files look at one moment."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The fifth on: profiles of the sandbox, and what browsers run as the console.
CODE = (".py", ".pyc", ".so", ".yaml", ".html", ".js", ".css", ".svg", ".webmanifest")
CACHE = "__pycache__"  # never read: byte code comes from a folder of the host

Identity = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Root:
    """One measured folder, or module of one file, and the prefix of its names."""

    path: Path
    name: str
    only_code: bool = False
    without: tuple[str, ...] = ()  # names right below it
    unread: tuple[str, ...] = ()  # how the names of files end that no birth reads: looks leave them out


def walk(root: Root) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the measured name and entry of each file below a folder, links followed."""
    yield from _walk(str(root.path), root.name, root.only_code, (*root.without, CACHE), ())


def _walk(
    folder: str, name: str, only_code: bool, without: tuple[str, ...], above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder around it
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name not in without:
                    yield from _walk(entry.path, f"{name}/{entry.name}", only_code, (CACHE,), (*above, here))
            elif not only_code or entry.name.endswith(CODE):
                yield f"{name}/{entry.name}", entry


def identity_of(path: str) -> Identity:
    """Return what differs when a file is changed or exchanged: stat(2). Raises OSError."""
    return _identity(os.stat(path))


def identity_of_root(root: Root) -> bytes:
    """Return what differs when a file in a root is changed, comes or goes, links not followed. Raises OSError."""
    if not root.path.is_dir():
        return repr(identity_of(str(root.path))).encode()
    digest = hashlib.sha256()
    waiting = [(str(root.path), (*root.without, CACHE))]
    while waiting:
        folder, without = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in without:
                        waiting.append((entry.path, (CACHE,)))
                elif not root.only_code or entry.name.endswith(CODE):
                    seen = (entry.path, _identity(entry.stat(follow_symlinks=False)))
                    digest.update(repr(seen).encode("utf-8", "surrogateescape"))
    return digest.digest()


def _identity(status: os.stat_result) -> Identity:
    return (
        status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns,
        status.st_ctime_ns,
    )  # fmt: skip
