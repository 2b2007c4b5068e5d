"""Whether a folder can still be written to, found out without writing to it."""

from __future__ import annotations

import os
from pathlib import Path


def trouble_of_folder(folder: Path) -> str | None:
    """Return why nothing more could be written there, or None. Raises OSError if it cannot be read; statvfs(3)."""
    there = os.statvfs(folder)
    if there.f_flag & os.ST_RDONLY:  # as a file system becomes that has met an error
        return f"the file system of {folder} is read-only"
    if there.f_bavail == 0 and there.f_blocks:
        return f"the file system of {folder} is full"
    if there.f_favail == 0 and there.f_files:
        return f"the file system of {folder} has no room for more files"
    return None
