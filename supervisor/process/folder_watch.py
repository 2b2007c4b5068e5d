"""Watch over folders for what appears or grows in them, by inotify(7): a hint to look again, and nothing more.

Who may touch something in a folder makes as many events as it likes, so one is heard, and then none until `arm`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from tlsrt.sandbox import syscalls
from tlsrt.supervisor.process.event_loop import EventLoop

APPEARED = 0x100 | 0x80 | 0x4  # IN_CREATE, IN_MOVED_TO, IN_ATTRIB
MODIFIED = 0x2 | 0x100  # IN_MODIFY, IN_CREATE
_READ_BYTES = 64 * 1024


def nearest_folder(path: str) -> str:
    """Return the folder in which a path is, or the nearest one above that there is."""
    folder = os.path.dirname(path)
    while folder != "/" and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


class FolderWatch:
    """The folders that are watched now; `on_change` is called once for whatever happens in one, until `arm`."""

    def __init__(self, event_loop: EventLoop, on_change: Callable[[], None], mask: int = APPEARED) -> None:
        self._event_loop = event_loop
        self._on_change = on_change
        self._mask = mask
        self._folders: frozenset[str] = frozenset()
        self._descriptor = -1
        self._is_armed = False
        self._heard = 0  # folders of which the kernel tells

    @property
    def is_deaf(self) -> bool:
        """Whether nothing would be heard now, after `arm`: where no inotify is left, a folder must be looked at."""
        return not self._is_armed or not self._heard

    def watch(self, folders: Iterable[str]) -> bool:
        """Watch these folders alone; tell whether others were watched before. A host without inotify has none."""
        wanted = frozenset(folders)
        if wanted == self._folders:
            return False
        self.close()
        self._folders = wanted
        if wanted:
            with suppress(OSError):
                self._descriptor = syscalls.inotify_init()
                self.arm()
        for folder in wanted:
            with suppress(OSError):  # gone meanwhile
                syscalls.inotify_add_watch(self._descriptor, folder, self._mask)
                self._heard += 1
        return True

    def arm(self) -> None:
        """Hear the next change, and not what was until now: to be called before a look."""
        if self._descriptor < 0 or self._is_armed:
            return
        with suppress(OSError):
            os.read(self._descriptor, _READ_BYTES)
        with suppress(OSError):
            self._event_loop.watch(self._descriptor, lambda events: self._hear())
            self._is_armed = True

    def close(self) -> None:
        """Watch nothing."""
        self._folders = frozenset()
        self._heard = 0
        if self._descriptor >= 0:
            self._disarm()
            os.close(self._descriptor)
            self._descriptor = -1

    def _disarm(self) -> None:
        self._event_loop.forget(self._descriptor)
        self._is_armed = False

    def _hear(self) -> None:
        self._disarm()
        self._on_change()
