"""Code looks: how the files that a process may import or read looked before they were measured, and what differs now.

A look reads no file: it notes what stat(2) says of each. To change a file, or put another one in its place, changes its
inode or its time of change, which no program can set back without setting the clock. So the same look is the same
content. A link is noted as itself; what is reached by one that leads out of its root is noted apart (`outer`), as the
root of a sandbox need not show it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsrt.config.code_root import CACHE, CODE, Root
from tlsrt.text import printable

if TYPE_CHECKING:
    from hashlib import _Hash

Above = tuple[tuple[int, int], ...]
SHARED = "tlsrt"  # the owner of what every process may import
_SHOWN = 300  # characters of a path


@dataclass(frozen=True, slots=True)
class CodeLook:
    """One root as it was, and whose it is: addresses of components, or SHARED."""

    root: Root
    owner: str
    inner: bytes
    outer: bytes


@dataclass(frozen=True, slots=True)
class CodeChange:
    """One root that is not as it was measured, and the path below it that changed last."""

    owner: str
    root: str
    newest: str = ""

    def __str__(self) -> str:
        where = f" (changed last: {printable(self.newest, _SHOWN)})" if self.newest else ""
        return (
            f"the code of {self.owner} is not what was sealed: {printable(self.root, _SHOWN)} has changed{where}; "
            "if you have changed it, type `tlsrt-supervisor seal` and `tlsrt-supervisor reload`, else treat the host "
            "as compromised"
        )


@dataclass(frozen=True, slots=True)
class ProcessCode:
    """What one process may import or read as data, as it was; `bytecode` is used only while it is as it was."""

    looks: tuple[CodeLook, ...] = ()
    bytecode: CodeLook | None = None
    is_strict: bool = True  # a difference is refused; else it is told

    def change(self) -> CodeChange | None:
        """Return the first difference, as the host sees these files."""
        for look in self.looks:
            if look_at(look.root) != (look.inner, look.outer):
                return CodeChange(look.owner, str(look.root.path), newest(look.root))
        return None

    def change_inside(self) -> CodeChange | None:
        """Return the first difference within a sandbox: of what components bring, and its uid may list there."""
        for look in self.looks:
            if look.owner == SHARED:  # thousands of files, of which a birth imports few
                continue
            try:
                if os.path.lexists(look.root.path) and look_at(look.root, is_inside=True)[0] != look.inner:
                    return CodeChange(look.owner, str(look.root.path), newest(look.root))
            except PermissionError:
                continue  # what it cannot list it did not import
        return None

    def has_bytecode(self) -> bool:
        """Tell whether the byte code of this host is as it was."""
        look = self.bytecode
        return look is None or look_at(look.root) == (look.inner, look.outer)


def look_at(root: Root, *, is_inside: bool = False) -> tuple[bytes, bytes]:
    """Return how a root looks now: itself, and what it reaches by links that lead out of it.

    Never fails for what changes or is gone meanwhile: that is a look too. `is_inside` does without the second, and
    raises PermissionError where a folder cannot be listed.
    """
    look = _Look(root, is_inside=is_inside)
    look.take()
    return look.inner.digest(), look.outer.digest()


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


class _Look:
    def __init__(self, root: Root, *, is_inside: bool) -> None:
        self.inner, self.outer = hashlib.sha256(), hashlib.sha256()
        self._root = root
        self._is_inside = is_inside
        self._real = f"{os.path.realpath(root.path)}/"

    def take(self) -> None:
        path = str(self._root.path)
        if os.path.islink(path):
            self._note(self.outer, path, os.lstat)
        if os.path.isdir(path):
            self._folder(path, self.inner, (*self._root.without, CACHE), ())
        else:
            self._note(self.inner, path, os.stat)

    def _folder(self, folder: str, digest: _Hash, without: tuple[str, ...], above: Above) -> None:
        """Note a folder, all its files at once, and what is below it."""
        try:
            status = os.stat(folder)
            here = (status.st_dev, status.st_ino)
            if here in above:  # a link to a folder around it
                return
            self.outer.update(repr((folder, here)).encode("utf-8", "surrogateescape"))
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                folders = self._files(folder, descriptor, digest, without)
            finally:
                os.close(descriptor)
        except OSError as error:
            if self._is_inside and isinstance(error, PermissionError):
                raise
            digest.update(repr((folder, error.errno)).encode("utf-8", "surrogateescape"))
            return
        for name, into in folders:
            self._folder(f"{folder}/{name}", into, (CACHE,), (*above, here))

    def _files(
        self, folder: str, descriptor: int, digest: _Hash, without: tuple[str, ...]
    ) -> list[tuple[str, _Hash]]:  # fmt: skip
        """Note the files of a folder; return the folders in it, each with the digest that it goes into.

        They are looked at from the open folder: the kernel goes one step instead of all those of a path.
        """
        only_code, unread = self._root.only_code, self._root.unread
        folders: list[tuple[str, _Hash]] = []
        seen: list[object] = []
        with os.scandir(descriptor) as entries:
            found = sorted(entries, key=_name)
        for entry in found:
            name, is_folder = entry.name, entry.is_dir()
            if is_folder:
                if name in without:
                    continue
            elif (only_code and not name.endswith(CODE)) or name.endswith(unread):
                continue
            if entry.is_symlink():
                if (into := self._link(f"{folder}/{name}", digest)) is None:
                    continue
                if is_folder:
                    folders.append((name, into))
                else:
                    self._note(into, f"{folder}/{name}", os.stat)
            elif is_folder:
                folders.append((name, digest))
            else:
                try:
                    one = entry.stat(follow_symlinks=False)
                    seen.append((name, one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns))
                except OSError as error:
                    seen.append((name, error.errno))
        digest.update(repr((folder, seen)).encode("utf-8", "surrogateescape"))
        return folders

    def _link(self, path: str, digest: _Hash) -> _Hash | None:
        """Note a link; return the digest of what it leads to, None for what is not noted."""
        self._note(digest, path, os.lstat)
        if f"{os.path.realpath(path)}/".startswith(self._real):
            return digest
        return None if self._is_inside else self.outer

    @staticmethod
    def _note(digest: _Hash, path: str, look: Callable[[str], os.stat_result]) -> None:
        try:
            one = look(path)
            # Neither mode nor owner: to change these changes the time as well, and a user namespace maps the owner.
            seen: object = (path, one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns)
        except OSError as error:
            seen = (path, error.errno)
        digest.update(repr(seen).encode("utf-8", "surrogateescape"))


def newest(root: Root) -> str:
    """Return the path below a root that changed last: a guess, for people, at what makes the difference."""
    path = str(root.path)
    found: list[tuple[int, str]] = []
    waiting = [path]
    try:
        found.append((os.lstat(path).st_ctime_ns, ""))
        while waiting:
            folder = waiting.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name == CACHE or (folder == path and entry.name in root.without):
                        continue
                    if entry.name.endswith(root.unread):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    changed = entry.stat(follow_symlinks=False).st_ctime_ns
                    found.append((changed, os.path.relpath(entry.path, path)))
    except OSError:
        pass  # a module of one file, or it goes on changing
    return max(found, default=(0, ""))[1]


def looks_of(roots: Iterable[tuple[Root, str]], look: Callable[[Root], tuple[bytes, bytes]]) -> tuple[CodeLook, ...]:
    """Return how these roots, each with its owner, look; `look` says how one does."""
    return tuple(CodeLook(root, owner, *look(root)) for root, owner in roots)
