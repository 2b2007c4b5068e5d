"""What a tree holds: bytes and files, counted folder by folder, and kept up with what is changed meanwhile.

Other programs may write in a tree, so it is counted again now and then; between two counts their part is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from tlsrt import CallError
from tlsrt.loops.third.staging import STAGING

WALKED_DEPTH = 64  # folders that are counted; callers reach half as deep


class Walked(Protocol):
    """What can be counted."""

    def folder(self, names: Sequence[str]) -> AbstractContextManager[int]:
        """Give the descriptor of a folder, as long as the block. Raises a CallError."""
        ...


class TreeUsage:
    """Bytes and files of one tree."""

    def __init__(self, tree: Walked) -> None:
        self._tree = tree
        self.bytes = 0
        self.files = 0
        self.is_known = False  # it was counted once
        self._changed = (0, 0)  # since the count that runs has begun

    def change(self, size: int, is_new: bool, files: int = 0) -> None:
        """Take a change of our own: so many bytes more, and a file more if it is new."""
        files += is_new
        self.bytes, self.files = max(0, self.bytes + size), max(0, self.files + files)
        self._changed = self._changed[0] + size, self._changed[1] + files

    def count(self) -> Iterator[None]:
        """Count the tree, a folder for each step."""
        size = files = 0
        self._changed = (0, 0)
        for more_bytes, more_files in walk(self._tree):
            size, files = size + more_bytes, files + more_files
            yield
        self.bytes, self.files = max(0, size + self._changed[0]), max(0, files + self._changed[1])
        self.is_known = True


def walk(tree: Walked) -> Iterator[tuple[int, int]]:
    """Give bytes and number of files, folder by folder; what vanishes or cannot be read meanwhile is left out."""
    left: list[tuple[str, ...]] = [()]
    while left:
        names = left.pop()
        size = files = 0
        with suppress(CallError, OSError), tree.folder(names) as at, os.scandir(at) as entries:
            for entry in entries:
                if entry.name == STAGING and not names:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if len(names) < WALKED_DEPTH:
                        left.append((*names, entry.name))
                elif entry.is_file(follow_symlinks=False):
                    size, files = size + entry.stat(follow_symlinks=False).st_size, files + 1
        yield size, files
