"""Files of the host: folders that the operator has granted, as trees with rights, quotas, watches and checksums.

All that touches the disk is done in a thread of its own, so that a slow disk makes answers late and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from tlsrt import (
    BoundedTable,
    Busy,
    CallError,
    Component,
    ConfigError,
    Denied,
    DiskCheck,
    DiskThread,
    DiskWork,
    EachAlone,
    InvalidArgument,
    Length,
    NotFound,
    Pattern,
    Range,
    Unavailable,
    WhenFull,
    every,
    handler,
)
from tlsrt.loops.indexing.feeder import part_of, remove_parts
from tlsrt.loops.indexing.questions import Questions
from tlsrt.loops.third.content import as_bytes_untrusted
from tlsrt.loops.third.digests import HEX, Digests
from tlsrt.loops.third.folder import Quota
from tlsrt.loops.third.folder_watch import LISTED_AT_ONCE, FolderWatch
from tlsrt.loops.third.readers import Readers
from tlsrt.loops.third.tree import Tree, shown
from tlsrt.loops.third.tree_index import FoundTexts, TreeIndex
from tlsrt.loops.third.tree_path import PATH_CHARACTERS, TreePath, parse_path_untrusted, why_no_name
from tlsrt.loops.third.tree_rules import Rules
from tlsrt.loops.third.uploads import Uploads

Result = TypeVar("Result")

READ_BYTES = 256 * 1024  # in one answer; more goes as a stream
WATCHES = 32  # each has an inotify instance: a descriptor, and a queue in the kernel
WATCHES_SHARE = WATCHES // 4  # of one caller
TREES = 16
DIGESTS = 4096  # that are remembered, of each tree
_MIB = 1 << 20
_GIB = 1 << 30

PathText = Annotated[str, Length(PATH_CHARACTERS, 1)]
Offset = Annotated[int, Range(0, (1 << 62))]
Size = Annotated[int, Range(0, (1 << 40))]
Sha256 = Annotated[str, Pattern(HEX, "64 hexadecimal digits in small letters")]
Mode = Annotated[str, Pattern(re.compile("0?[46][0246][0246]"), "an octal mode of files in quotes, such as '0640'")]
Subjects = Annotated[tuple[str, ...], Length(64)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreeOptions:
    """One tree: a folder that stands under `needs` too, as `read` or `write`."""

    path: Path
    rights: Literal["r", "rw"] = "r"
    readers: Subjects = ("*",)  # of those whom policy lets call; a writer reads as well
    writers: Subjects = ("*",)
    total_bytes: Annotated[int, Range(1, 1 << 50)] = 10 * _GIB
    file_bytes: Annotated[int, Range(1, 1 << 40)] = _GIB
    files: Annotated[int, Range(1, 10_000_000)] = 100_000
    keep_free_bytes: Annotated[int, Range(0, 1 << 50)] = 64 * _MIB
    mode: Mode = "0600"  # of new files; folders may be entered by who may read
    index: bool = False  # whether secondary/search keeps its texts, for `find`


class _Held:
    """A tree with what is done in it."""

    def __init__(
        self, name: str, options: TreeOptions, disk: DiskThread, component: Component, turn: asyncio.Lock
    ) -> None:
        self.options = options
        quota = Quota(options.total_bytes, options.file_bytes, options.files)
        rules = Rules(quota, options.rights == "rw", options.keep_free_bytes, int(options.mode, 8))
        self.tree = Tree(name, options.path, rules)
        self.digests = Digests(self.tree, disk, DIGESTS)
        self.uploads = Uploads(self.tree, self.digests, disk)
        self.trouble: str | None = None
        self.index = TreeIndex(name, self.tree, disk, component, turn) if options.index else None

    def trouble_now(self) -> str | None:
        """Return why the tree cannot be used; in the disk thread."""
        return self.trouble or (None if self.tree.is_there else "its folder was removed")

    def may(self, caller: str, *, write: bool) -> bool:
        lists = [self.options.writers] if write else [self.options.writers, self.options.readers]
        return any(caller in one or "*" in one for one in lists)


class Files(Component):
    """Files in granted trees. A path is TREE/FOLDER/NAME."""

    class Options:
        """Options: the trees."""

        trees: Annotated[dict[str, TreeOptions], "Trees by the name that callers use."]

        def __post_init__(self) -> None:
            if not 0 < len(self.trees) <= TREES:
                raise ValueError(f"trees: name 1 to {TREES} folders")
            for name in self.trees:
                if why := why_no_name(name):
                    raise ValueError(f"trees: a name {why}")

    def __init__(self) -> None:
        self._disk = DiskThread("files-disk", EachAlone())
        self.disk_threads = (self._disk,)

    async def start(self) -> None:
        trees: dict[str, TreeOptions] = self.options.trees
        turn = asyncio.Lock()  # of all indexes
        self._trees = {name: _Held(name, tree, self._disk, self, turn) for name, tree in trees.items()}
        self._readers = Readers(self._disk)
        self._watches: BoundedTable[FolderWatch, None] = BoundedTable(WATCHES, WATCHES_SHARE, WhenFull.REFUSE)
        self._counted = asyncio.Lock()
        self._check = DiskCheck(self._disk, self.state, self._look)
        for name, held in self._trees.items():
            held.trouble = await self._disk.run("", DiskWork(held.tree.open))
            if held.trouble:
                self.log.warning("tree %s: %s: %s", name, held.options.path, held.trouble)
        if all(held.trouble for held in self._trees.values()):
            await self.stop()
            raise ConfigError(
                "none of the trees can be opened: "
                + "; ".join(f"{held.options.path}: {held.trouble}" for held in self._trees.values())
                + "; name each under `needs` (read or write), and let the component's user in (see `sandbox show`)"
            )
        self.spawn(self.count_all, restart=False)
        self._questions = Questions()
        self.spawn(self.look_again, restart=False)
        for name, held in self._trees.items():
            if held.index is not None and not held.trouble:
                self.spawn(held.index.feeder.run, name=f"index of {name}")

    async def stop(self) -> None:
        for held in self._trees.values():
            if held.index is not None:
                held.index.close()
            await self._disk.run_last(DiskWork(held.tree.close))
        self._disk.close()

    async def healthy(self) -> str | None:
        return await self._check.ask()

    def _look(self) -> str | None:
        """Return what is wrong with trees; in the disk thread."""
        found = [(name, held.trouble_now()) for name, held in self._trees.items()]
        return "; ".join(f"tree {name}: {trouble}" for name, trouble in found if trouble) or None

    @every("10m")
    async def count_all(self) -> None:
        """Count what the trees hold: other programs may write there too."""
        async with self._counted:
            for name, held in self._trees.items():
                if held.trouble or not held.tree.rules.can_write:
                    continue
                steps = held.tree.usage.count()
                while await self._disk.run("", DiskWork(partial(next, steps, 1))) is None:
                    continue
                self.gauge(f"bytes.{_figure(name)}", held.tree.usage.bytes)
                self.gauge(f"files.{_figure(name)}", held.tree.usage.files)

    @every("10m")
    async def look_again(self) -> None:
        """Have the index compared: some changes are told by no kernel, as those of another host on a shared disk."""
        indexes = {name: held.index for name, held in self._trees.items() if held.index is not None}
        for index in indexes.values():
            index.look_again()
        if indexes:
            with suppress(CallError):  # the index is away: next time
                await remove_parts(self, {part_of(name) for name in indexes})

    async def _on_disk(self, work: Callable[[], Result], size: int = 0) -> Result:
        return await self._disk.run(self.caller, DiskWork(work, size=size))

    def _find(self, path: str, *, write: bool = False) -> tuple[_Held, TreePath]:
        """Return what a path leads to, for the caller. Raises a CallError."""
        found = parse_path_untrusted(path)
        held = self._trees.get(found.tree)
        if held is None or not (held.may(self.caller, write=False) or held.may(self.caller, write=write)):
            raise NotFound(f"no tree {found.tree}; `list` shows those that you may read")
        if write and not held.may(self.caller, write=True):
            raise Denied(f"{self.caller} may not write in tree {found.tree}")
        if write and not held.tree.rules.can_write:
            raise Denied(f"tree {found.tree} is there to be read")
        if write and not held.tree.usage.is_known and not held.trouble:
            raise Unavailable(f"tree {found.tree} is being counted for its quota: try again in a moment")
        return held, found

    def _file(self, path: str, *, write: bool = False) -> tuple[_Held, TreePath]:
        held, found = self._find(path, write=write)
        if not found.names:
            raise InvalidArgument(f"path: {found.tree} is a tree; say which file or folder in it")
        return held, found

    @handler(idempotent=True)
    async def list(
        self,
        path: Annotated[str, Length(PATH_CHARACTERS)] = "",
        after: Annotated[str, Length(255)] = "",
        limit: Annotated[int, Range(1, 500)] = 500,
    ) -> dict[str, Any]:
        """Entries of a folder by name, and `skipped`, whose names are not UTF-8; without a path, the trees.

        Of each entry: name, kind (file, folder, link, other), size_bytes, changed_wall_ms. `after` = the last name
        asks for the next page.
        """
        if not path:
            names = [name for name in sorted(self._trees) if name > after and self._shows(name)]
            troubles = await self._on_disk(lambda: [self._trees[name].trouble_now() for name in names])
            trees = [self._shown(name, trouble) for name, trouble in zip(names, troubles, strict=True)]
            return {"entries": trees, "skipped": 0}
        held, found = self._find(path)
        entries, skipped = await self._on_disk(partial(held.tree.list, found.names, after, limit))
        return {"entries": entries, "skipped": skipped}

    def _shows(self, name: str) -> bool:
        return self._trees[name].may(self.caller, write=False)

    def _shown(self, name: str, trouble: str | None) -> dict[str, Any]:
        held = self._trees[name]
        can_read, can_write = held.may(self.caller, write=False), held.may(self.caller, write=True)
        usage, is_known = held.tree.usage, held.tree.usage.is_known
        return {
            "name": name,
            "kind": "tree",
            "rights": ("r" if can_read else "") + ("w" if can_write and held.tree.rules.can_write else ""),
            "used_bytes": usage.bytes if is_known else None,
            "files": usage.files if is_known else None,
            "total_bytes": held.options.total_bytes if held.tree.rules.can_write else None,
            "trouble": trouble,
        }

    @handler(idempotent=True)
    async def stat(self, path: PathText, digest: bool = True) -> dict[str, Any]:
        """What a path is: kind, size_bytes, changed_wall_ms; of a file its sha256 too, unless `digest` is false."""
        held, found = self._find(path)
        status = shown(await self._on_disk(partial(held.tree.status, found.names)))
        if not digest or status["kind"] != "file":
            return {**status, "sha256": None}
        known = await held.digests.of(found.inside, self.caller)
        return {"kind": "file", "size_bytes": known.size, "changed_wall_ms": known.changed_ms, "sha256": known.sha256}

    @handler(idempotent=True)
    async def read(
        self, path: PathText, offset: Offset = 0, length: Annotated[int, Range(0, READ_BYTES)] = READ_BYTES
    ) -> bytes:
        """Bytes of a file from `offset` on, at most 256 KiB; `read_stream` gives all of a large one."""
        held, found = self._file(path)
        self.count("read")
        return await self._on_disk(partial(held.tree.read, found.inside, offset, length))

    @handler(idempotent=True)
    async def read_stream(self, path: PathText, offset: Offset = 0) -> AsyncIterator[bytes]:
        """The bytes of a file as it is now, from `offset` on, in chunks; one replaced meanwhile is read to its end."""
        held, found = self._file(path)
        items = self._readers.stream(self.caller, partial(held.tree.open_read, found.inside), offset)
        async with aclosing(items) as closing:
            async for data in closing:
                self.count("sent_bytes", len(data))
                yield data

    @handler(idempotent=True)
    async def write(self, path: PathText, data: str | bytes) -> int:
        """Replace the content of a file by text (as UTF-8) or bytes, in one step; returns its size in bytes."""
        held, found = self._file(path, write=True)
        content = as_bytes_untrusted(data)
        self.count("written")
        return await self._on_disk(partial(held.tree.write, found.inside, content), len(content))

    @handler
    async def append(self, path: PathText, data: str | bytes) -> int:
        """Add text (as UTF-8) or bytes at the end of a file, all or nothing; returns its new size in bytes."""
        held, found = self._file(path, write=True)
        content = as_bytes_untrusted(data)
        self.count("written")
        return await self._on_disk(partial(held.tree.append, found.inside, content), len(content))

    @handler
    async def move(self, path: PathText, to: PathText, replace: bool = False) -> None:
        """Give a file or folder another path in its tree; `conflict` if something is there, unless a file may go."""
        held, found = self._file(path, write=True)
        other, target = self._file(to, write=True)
        if held is not other:
            raise InvalidArgument(f"to: {target.tree} is another tree: fetch the file and send it there")
        await self._on_disk(partial(held.tree.move, found.names, target.names, replace=replace))
        self.count("moved")

    @handler
    async def remove(self, path: PathText) -> None:
        """Remove a file, or a folder that is empty; of a link, the link itself."""
        held, found = self._file(path, write=True)
        await self._on_disk(partial(held.tree.remove, found.names))
        self.count("removed")

    @handler(idempotent=True)
    async def mkdir(self, path: PathText, parents: bool = False) -> bool:
        """Make a folder, with `parents` those above it too; returns whether it is new."""
        held, found = self._file(path, write=True)
        is_new = False
        for depth in range(1 if parents else len(found.names), len(found.names) + 1):
            is_new = await self._on_disk(partial(held.tree.make_folder, found.names[:depth]))
        return is_new

    @handler(idempotent=True)
    async def begin_put(self, path: PathText, size_bytes: Size, sha256: Sha256) -> dict[str, Any]:
        """Begin to send a file, or go on after a break: `offset` bytes of it are here; `done`: it is there already."""
        held, found = self._file(path, write=True)
        offset, done = await held.uploads.begin(self.caller, found.inside, size_bytes, sha256)
        return {"offset": offset, "done": done}

    @handler
    async def go_on_put(
        self, path: PathText, size_bytes: Size, sha256: Sha256, offset: Offset, data: AsyncIterator[bytes]
    ) -> dict[str, Any]:
        """Send the next bytes; they stay, also if this breaks. With the last one the SHA-256 must fit: `done`."""
        held, found = self._file(path, write=True)
        there, done = await held.uploads.receive(self.caller, found.inside, size_bytes, sha256, offset, data)
        self.count("received_bytes", there - offset)
        self.count("uploads", int(done))
        return {"offset": there, "done": done}

    @handler(idempotent=True)
    async def watch(self, path: PathText) -> AsyncIterator[dict[str, Any]]:
        """What is in a folder, and then each change in it, without a gap between; not those in folders below.

        First come items with `entries`, as `list` has them, the last one with `complete`. Then items with `change`:
        created, growing, written (and closed), removed, moved_away and moved_here (a pair has the same `move`), each
        with name and kind; `look_again`: changes were lost, list the folder; `gone`: it was moved or removed, the end.
        """
        held, found = self._find(path)
        watch, caller = FolderWatch(held.tree, found.names), self.caller
        if not self._watches.add(watch, None, caller).is_added:
            raise Busy(f"{WATCHES_SHARE} folders are being watched for one caller, or {WATCHES} for all")
        try:
            entries = await self._on_disk(watch.set)
            for at in range(0, max(1, len(entries)), LISTED_AT_ONCE):
                is_last = at + LISTED_AT_ONCE >= len(entries)
                yield {"entries": entries[at : at + LISTED_AT_ONCE], "complete": is_last}
            entries.clear()
            change: dict[str, Any] = {}
            while change != {"change": "gone"}:
                for change in await watch.changes():
                    self.count("changes")
                    yield change
        finally:
            self._watches.remove(watch)
            self._disk.post(caller, DiskWork(watch.close))

    @handler(idempotent=True)
    async def find(
        self, path: PathText, text: Annotated[str, Length(4000, 1)], limit: Annotated[int, Range(1, 20)] = 5
    ) -> FoundTexts:
        """Passages of a tree's texts that are nearest to a text: {hits, is_behind, left_out}. `path` is the tree.

        They are read from the files now, so of what you may not read, of what was removed or has changed since it was
        indexed, nothing comes. `is_behind`: not all is indexed yet; `left_out` files are no texts, or have no room.
        """
        held, found = self._find(path)
        if found.names:
            raise InvalidArgument(f"path: a tree is searched as a whole: write {found.tree}")
        if held.index is None:
            raise Unavailable(f"tree {found.tree} has no index: the option `index: true` of the tree keeps one")
        with self._questions.asked_by(self.caller):
            self.count("found")
            return await held.index.find(self.caller, text, limit)


def _figure(name: str) -> str:
    """Return a tree's name as part of the name of a figure."""
    return "".join(one if one.isascii() and one.isalnum() else "_" for one in name.lower())[:32]
