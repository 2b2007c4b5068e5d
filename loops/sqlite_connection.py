"""A connection to a file of SQLite: made, and asked whether the pages behind it are whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

PAGE_BYTES = 4096
_STEPS = 10_000  # of SQLite between two looks at the clock


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=2.0, check_same_thread=False)


def damage_of_pages(connection: sqlite3.Connection, is_late: Callable[[], bool]) -> str:
    """Return what SQLite's own check finds, on one line; "" for nothing, also as far as it got before it was late.

    Raises sqlite3.Error. What was not looked at in a large file is looked at when it is read.
    """
    connection.set_progress_handler(is_late, _STEPS)
    try:
        found = [str(line[0]) for line in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return ""
    finally:
        connection.set_progress_handler(None, 0)
    return "" if found == ["ok"] else "; ".join(found).replace("\n", " ")
