"""The texts of one tree in the index: what is there, when to look again, and passages read from the files themselves.

A watch says that something has changed, and not what: then the whole tree is looked through, folder by folder in the
disk thread, and compared by marks (inode, size, change). Each look has an inotify(7) instance of its own, whose watches
are set before a folder is listed, so nothing falls between. Of a flood of changes the first one counts: what follows
waits in the kernel's queue, which is thrown away with its instance when the next look begins.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tlsrt import CallError, Denied, DiskThread, DiskWork, Failed, NotFound
from tlsrt.loops.indexing.feeder import NAME_CHARACTERS, TEXT_BYTES, Feeder, Index, Place, part_of
from tlsrt.loops.third.folder import OpenFile
from tlsrt.loops.third.libc import inotify_add_watch, inotify_init
from tlsrt.loops.third.tree import Tree
from tlsrt.loops.third.tree_path import DEPTH, why_no_name

Result = TypeVar("Result")

FILES, FOLDERS = 10_000, 2000  # of one tree that are looked at and watched
LISTED = 50_000  # entries of one folder that are looked at
_CREATE, _CLOSE_WRITE, _MOVED, _DELETE, _GONE = 0x100, 0x8, 0x40 | 0x80, 0x200, 0x400 | 0x800
_WATCHED = _CREATE | _CLOSE_WRITE | _MOVED | _DELETE | _GONE | 0x01000000  # and only of a folder
NOT_THERE = (NotFound, Denied, Failed)  # removed meanwhile, or not to be read
Folder = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextHit:
    """A passage of a file: from which character on, and how near it is; when the file was changed (wall ms)."""

    path: str
    at_ms: int
    start: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class FoundTexts:
    """What was found; whether some may be missing, and of how many files nothing is indexed."""

    hits: list[TextHit]
    is_behind: bool
    left_out: int


def mark_of(status: os.stat_result) -> str:
    """Return what tells a content of a file from another one; who sets times back makes it be found worse, no more."""
    return f"{status.st_ino:x}.{status.st_size:x}.{status.st_mtime_ns:x}"


class TreeIndex:
    """The texts of a tree: `feeder` keeps them in the index."""

    def __init__(self, name: str, tree: Tree, disk: DiskThread, index: Index, turn: asyncio.Lock) -> None:
        self.feeder = Feeder(index, part_of(name), "file", self, turn)
        self._name = name
        self._tree = tree
        self._disk = disk
        self._watch = -1
        self._left_out = 0

    def close(self) -> None:
        """End the watch; in the event loop."""
        watch, self._watch = self._watch, -1
        if watch >= 0:
            asyncio.get_running_loop().remove_reader(watch)
            self._disk.post("", DiskWork(partial(os.close, watch)))

    def look_again(self) -> None:
        """Look, though nothing was told, and try again what the index has not taken."""
        self.feeder.forget_refused()
        self.feeder.change()

    # -- what the feeder asks

    async def marks(self) -> dict[str, str]:
        """Return the marks of all files that may be texts, and watch their folders from now on."""
        self.close()
        self._watch = watch = await self._on_disk(inotify_init)
        found: dict[str, str] = {}
        folders: list[Folder] = [()]
        self._left_out = 0
        for number, names in enumerate(folders):  # it grows meanwhile
            look = partial(self._look, names, watch if number < FOLDERS else -1)
            try:
                files, below, left_out = await self._on_disk(look)
            except NOT_THERE:
                if not names:  # the tree itself: nothing is known of it then, above all not that all is removed
                    raise
                continue
            self._left_out += left_out + max(0, len(found) + len(files) - FILES)
            found |= dict(sorted(files.items())[: FILES - len(found)])
            folders += below if len(names) < DEPTH - 1 and len(folders) < FILES else ()
        if watch == self._watch:
            asyncio.get_running_loop().add_reader(watch, self._on_change)
        return found

    def _on_change(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watch)  # one change is enough until the next look
        self.feeder.change()

    async def _on_disk(self, work: Callable[[], Result]) -> Result:
        return await self._disk.run("", DiskWork(work))

    def _look(self, names: Folder, watch: int) -> tuple[dict[str, str], list[Folder], int]:
        """Return files of a folder with their marks, folders in it, and how many were left out; in the disk thread."""
        with self._tree.folder(names) as at:
            if watch >= 0:
                _watch_folder(watch, at)
            files, folders, left_out = dict[str, str](), list[Folder](), 0
            device = os.fstat(at).st_dev
            with os.scandir(at) as entries:
                for number, entry in enumerate(entries):
                    if number >= LISTED:
                        break
                    if entry.name.startswith(".") or why_no_name(entry.name):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # removed meanwhile
                    inside = "/".join((*names, entry.name))
                    if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                        folders.append((*names, entry.name))
                    elif stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                        if status.st_size <= TEXT_BYTES and len(inside) <= NAME_CHARACTERS:
                            files[inside] = mark_of(status)
                        else:
                            left_out += 1
            return files, sorted(folders), left_out

    async def text(self, name: str) -> tuple[str, bytes] | None:
        """Return mark and content of a file that is a text, None for another one."""
        try:
            mark, _, data = await self._on_disk(partial(self._read, name))
            data.decode()
        except (*NOT_THERE, UnicodeDecodeError):
            return None
        return (mark, data) if b"\0" not in data else None

    def _read(self, name: str) -> tuple[str, int, bytes]:
        """Return mark, change (wall ms) and content of a file that is not changed meanwhile. Raises a CallError."""
        file = OpenFile(partial(self._tree.open_read, name))
        try:
            before = file.status()
            parts, size = list[bytes](), 0
            while size <= TEXT_BYTES and (part := file.read(TEXT_BYTES + 1 - size, size)):
                parts.append(part)
                size += len(part)
            status = file.status()
        except OSError:
            raise NotFound(f"{name} cannot be read") from None
        finally:
            file.close()
        if size > TEXT_BYTES or mark_of(before) != mark_of(status):
            raise NotFound(f"{name} is being written")
        return mark_of(status), status.st_mtime_ns // 1_000_000, b"".join(parts)

    # -- finding

    async def find(self, caller: str, question: str, most: int) -> FoundTexts:
        """Return the passages that are nearest to a question, as they stand in the files now."""
        places = await self.feeder.find(question, most)
        hits: list[TextHit] = []
        read: dict[str, tuple[int, str] | None] = {}
        for place in places:
            if place.name not in read:
                read[place.name] = await self._disk.run(caller, DiskWork(partial(self._now, place.name)))
            if (found := read[place.name]) is not None:
                hits.append(self._hit(place, *found))
        return FoundTexts(hits, self.feeder.is_behind, self.feeder.left_out + self._left_out)

    def _now(self, name: str) -> tuple[int, str] | None:
        """Return change and text of a file if it is what the index has; in the disk thread."""
        try:
            mark, at_ms, data = self._read(name)
            return (at_ms, data.decode()) if self.feeder.has(name, mark) else None
        except (CallError, UnicodeDecodeError):
            return None

    def _hit(self, place: Place, at_ms: int, text: str) -> TextHit:
        passage = text[place.start :][: place.length]
        return TextHit(f"{self._name}/{place.name}", at_ms, place.start, passage, place.score)


def _watch_folder(watch: int, at: int) -> None:
    """Watch an open folder; where the kernel has no room for more, it is looked at from time to time alone."""
    back = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(at)
        inotify_add_watch(watch, ".", _WATCHED)
    except OSError:
        pass
    finally:
        os.fchdir(back)
        os.close(back)
