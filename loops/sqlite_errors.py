"""Errors of SQLite by what they say: about the disk, or about the statement. Pure, but for the size of a file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNWRITTEN = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
# These may undo a whole transaction, lang_transaction.html; all others end one statement.
_OF_DISK = (
    *_DAMAGE, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_LOCKED,
)  # fmt: skip


def code_of(error: sqlite3.Error) -> int:
    """Return the extended code of an error, 0 if SQLite gave none: then Python itself refused."""
    return getattr(error, "sqlite_errorcode", 0)


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether what is on the disk is no database, or not what it was."""
    return code_of(error) & 0xFF in _DAMAGE


def is_full(error: sqlite3.Error) -> bool:
    """Tell whether there was no room, on the disk or within the limit."""
    return code_of(error) == sqlite3.SQLITE_FULL


def is_unwritten(error: sqlite3.Error) -> bool:
    """Tell whether a commit that failed so is not on the disk."""
    return code_of(error) in _UNWRITTEN


def is_of_disk(error: sqlite3.Error) -> bool:
    """Tell whether the disk, or what is on it, is at fault, and not the statement."""
    return code_of(error) & 0xFF in _OF_DISK


def size_of(path: Path) -> int:
    """Return the size of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
