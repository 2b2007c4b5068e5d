"""What a tree holds: bytes and files, counted folder by folder, and kept up with what is changed meanwhile.

Other programs may write in a tree, so it is counted again now and then; between two counts their part is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Walked(Protocol):
    """What can be counted."""

    def walk(self) -> Iterator[tuple[int, int]]:
        """Give bytes and number of files, folder by folder."""
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
        for more_bytes, more_files in self._tree.walk():
            size, files = size + more_bytes, files + more_files
            yield
        self.bytes, self.files = max(0, size + self._changed[0]), max(0, files + self._changed[1])
        self.is_known = True
