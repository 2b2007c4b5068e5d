"""A watch of one folder of a tree, by inotify(7): first what is in it, then each change, without a gap.

Theory of operation: each watch has an inotify instance of its own, so the kernel keeps its changes from the moment at
which it is set, which is before the folder is listed: what happens between is in the list, in the changes, or in both.
The kernel's queue (fs.inotify.max_queued_events) is the only one: who takes changes slowly lets it run over, and the
kernel says so. The folders above are watched too, for being moved or removed: then the path leads elsewhere, and the
watch ends. A path is never given to the kernel: the folder is made the working directory of the process for a moment
(fchdir(2)), so that no link can be put in the way. That is done in the disk thread, where alone the working directory
matters.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from tlsrt import Failed
from tlsrt.loops.third.libc import inotify_add_watch, inotify_init
from tlsrt.loops.third.tree import Tree
from tlsrt.loops.third.tree_path import why_no_name

LISTED_AT_ONCE = 500
READ_BYTES = 64 * 1024
_HEAD = struct.Struct("=iIII")  # struct inotify_event
_MODIFY, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_IS_FOLDER, _ONLY_FOLDER, _ADD = 0x40000000, 0x01000000, 0x20000000
_ABOVE = _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDER | _ADD
_INSIDE = _ABOVE | _MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_GONE = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED
_WORDS = {
    _CREATE: "created", _MODIFY: "growing", _CLOSE_WRITE: "written", _DELETE: "removed", _MOVED_FROM: "moved_away",
    _MOVED_TO: "moved_here",
}  # fmt: skip


class KernelEvent(NamedTuple):
    """What inotify says."""

    mask: int
    cookie: int
    name: str


def parse_events(data: bytes) -> list[KernelEvent]:
    """Return the events of one read(2). Raises ValueError for what no kernel says."""
    found, at = [], 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise ValueError("half an event of inotify")
        _, mask, cookie, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if len(data) - at < length:
            raise ValueError("half a name in an event of inotify")
        found.append(KernelEvent(mask, cookie, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
        at += length
    return found


def told_of(events: Sequence[KernelEvent]) -> list[dict[str, Any]]:
    """Return what a caller is told; the same change of a name twice in a row is one. Pure."""
    told: list[dict[str, Any]] = []
    for event in events:
        if event.mask & _OVERFLOW:
            one: dict[str, Any] = {"change": "look_again"}
        elif event.mask & _GONE:
            told.append({"change": "gone"})
            return told
        else:
            word = next((word for bit, word in _WORDS.items() if event.mask & bit), "")
            if not word or why_no_name(event.name):
                continue
            one = {"change": word, "name": event.name, "kind": "folder" if event.mask & _IS_FOLDER else "file"}
            if event.cookie:
                one["move"] = event.cookie
        if one not in told[-1:]:
            told.append(one)
    return told


class FolderWatch:
    """One watch. `set` and `close` it in the disk thread; `changes` is awaited in the event loop."""

    def __init__(self, tree: Tree, names: Sequence[str]) -> None:
        self._tree = tree
        self._names = names
        self._descriptor = -1

    def set(self) -> list[dict[str, Any]]:
        """Begin to watch; return what is in the folder. Raises a CallError."""
        try:
            self._descriptor = inotify_init()
            with ExitStack() as stack:
                back = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, back)
                stack.callback(os.fchdir, back)
                for depth in range(len(self._names) + 1):
                    at = stack.enter_context(self._tree.folder(self._names[:depth]))
                    os.fchdir(at)
                    is_last = depth == len(self._names)
                    inotify_add_watch(self._descriptor, ".", _INSIDE if is_last else _ABOVE)
                # the way once more, as it may have been moved between two steps, before its watch was set
                with self._tree.folder(self._names) as again:
                    if not os.path.samestat(os.fstat(again), os.fstat(at)):
                        raise Failed("the folder was moved meanwhile: watch it again")
                return self._all(at)
        except OSError as error:
            raise Failed(f"cannot watch: {os.strerror(error.errno or 0).lower()}") from None

    def _all(self, at: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := self._tree.list_open(at, self._names, found[-1]["name"] if found else "", LISTED_AT_ONCE)[0]:
            found += page
        return found

    async def changes(self) -> list[dict[str, Any]]:
        """Wait for changes and return them, at least one; {"change": "gone"} is the last one."""
        while True:
            try:
                told = told_of(parse_events(os.read(self._descriptor, READ_BYTES)))
            except BlockingIOError:
                await _readable(self._descriptor)
                continue
            if told:
                return told

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.add_reader(descriptor, _wake, done)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
