"""A copy of a database of SQLite in one file, which is whole or not there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path


def write_backup(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the database to a file, in the place of an older copy. Raises sqlite3.Error and OSError."""
    part = target.with_suffix(".part")
    for left in (part, part.with_name(part.name + "-journal"), part.with_name(part.name + "-wal")):
        left.unlink(missing_ok=True)
    with closing(sqlite3.connect(part, isolation_level=None, check_same_thread=False)) as copy:
        copy.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # so that one file is all of it
    for path, flags in ((part, os.O_RDONLY), (target.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
            if path == part:
                os.replace(part, target)
        finally:
            os.close(descriptor)
