"""Entries of the store, in a file of SQLite: values with revisions, checksums and expiry.

Revisions rise over deletes too. Expiry is wall time, because it must outlive a reboot. How changes come to the disk,
and what a bad disk does to them, is SqliteFile's; this knows which keys a commit of unknown outcome has
changed, and refuses only reads of these until it is settled.

Each value has a checksum, and the counter has the sum of all entries: they are compared when the file is opened, and
again whenever a value is read. A damaged value is refused by its name, and never served.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlsrt import CallError, Conflict, DiskWork, Failed, NotFound, SqliteContent, SqliteFile
from tlsrt.loops.secondary.schema import SUM_BYTES, add_identity, checksum, identity, prepare_schema

_PURGE = 16  # expired entries removed beside each change, so that no change has to clean up after all others
_NAMED = 3  # damaged keys in one sentence
_DAMAGED_MOST = 1000  # that are remembered
_LIVE = "(expires_ms IS NULL OR expires_ms > ?)"


@dataclass(frozen=True)
class TableRow:
    """One value with its revision, and when it expires (wall ms), if ever."""

    value: bytes
    revision: int
    expires_ms: int | None


class SqliteTable:
    """Entries by (namespace, key). Times are wall ms; failures are CallErrors. `open` it first.

    Methods that change something belong into work with `is_change`, for `carry_out` gives them their transaction.
    """

    noun, parts, reread = "store", "values", "the key"

    def __init__(self, make_file: Callable[[SqliteContent], SqliteFile] = SqliteFile) -> None:
        self._file = make_file(self)
        self._name = ""
        self._damaged: set[tuple[str, str]] = set()
        self._changed: set[tuple[str, str]] = set()  # within a transaction
        self._unknown: set[tuple[str, str]] = set()  # changed by a commit of unknown outcome that is not settled
        self._sum = b""  # within a transaction, as it was before
        self._sum_change = 0
        self._expiry_ms = 0.0  # wall ms before which no entry expires; 0: not known

    def open(self, path: Path, max_bytes: int) -> None:
        """Open or create the files, as SqliteFile does."""
        self._name = path.name
        self._file.open(path, max_bytes)

    def close(self) -> None:
        self._file.close()

    def check(self) -> str | None:
        """Return what is wrong, or None."""
        return self._file.check()

    def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
        return self._file.carry_out(works)

    def rest(self) -> None:
        self._file.rest()

    # -- the content of the file ------------------------------------------------------------------------------

    def prepare(self, connection: sqlite3.Connection) -> None:
        prepare_schema(connection)

    def look(self, connection: sqlite3.Connection, is_late: Callable[[], bool], mark: str) -> str:
        """Compare each value with its checksum, and all with their sum."""
        total = bytes(SUM_BYTES)
        query = "SELECT namespace, key, value, revision, expires_ms, checksum FROM entries"
        for number, (namespace, key, value, revision, expires_ms, expected) in enumerate(connection.execute(query)):
            if number % 256 == 0 and is_late():
                return ""
            if checksum(namespace, key, value, revision, expires_ms) != expected:
                self._note_damaged(namespace, key)
            total = add_identity(total, identity(namespace, key, revision))
        (expected,) = connection.execute("SELECT identities FROM counter").fetchone()
        if total == expected:
            return ""
        if mark:
            return (
                f"entries of {self._name} are missing or older than they were; restore it from a backup, or "
                f"remove {mark} to accept it as it is, then restart this loop"
            )
        connection.execute("UPDATE counter SET identities = ?", (total,))
        return ""

    def _note_damaged(self, namespace: str, key: str) -> None:
        if len(self._damaged) < _DAMAGED_MOST:
            self._damaged.add((namespace, key))

    def revision(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT revision FROM counter").fetchone()[0])

    def set_revision(self, connection: sqlite3.Connection, revision: int) -> None:
        connection.execute("UPDATE counter SET revision = ?", (revision,))

    def begin(self, connection: sqlite3.Connection) -> int:
        revision, self._sum = connection.execute("SELECT revision, identities FROM counter").fetchone()
        self._sum_change = 0
        self._changed.clear()
        return int(revision)

    def finish(self, connection: sqlite3.Connection, revision: int) -> None:
        counter = revision, add_identity(self._sum, self._sum_change)
        connection.execute("UPDATE counter SET revision = ?, identities = ?", counter)

    def is_of_caller(self, error: Exception) -> bool:
        return isinstance(error, CallError)  # raised before the work has changed anything

    def undone(self) -> None:
        self._expiry_ms = 0.0

    def unknown(self) -> None:
        self._unknown |= self._changed

    def settled(self) -> None:
        self._unknown.clear()

    @property
    def has_unknown(self) -> bool:
        return bool(self._unknown)

    def troubles(self) -> list[str]:
        if not self._damaged:
            return []
        names = ", ".join(repr(key) for _, key in sorted(self._damaged)[:_NAMED])
        more = f" and {len(self._damaged) - _NAMED} more" if len(self._damaged) > _NAMED else ""
        return [f"damaged values, which are not served: {names}{more}; put or delete them"]

    # -- reads ------------------------------------------------------------------------------------------------

    def get(self, namespace: str, key: str, now_ms: int) -> TableRow | None:
        """Return the live entry of a key, or None; Failed if it is damaged, or not known."""
        query = f"SELECT value, revision, expires_ms, checksum FROM entries WHERE namespace = ? AND key = ? AND {_LIVE}"  # noqa: S608
        with self._file.reading() as connection:
            self._file.settle_if(self._file.is_all_unknown or (namespace, key) in self._unknown, f"{key!r} was changed")
            row = connection.execute(query, (namespace, key, now_ms)).fetchone()
        if row is None:
            return None
        if checksum(namespace, key, *row[:3]) != row[3]:
            self._note_damaged(namespace, key)
            raise Failed(f"the value under {key!r} is damaged on the disk and is not served; put it anew or delete it")
        return TableRow(*row[:3])

    def keys(self, namespace: str, prefix: str, after: str, limit: int, now_ms: int) -> list[str]:
        """Return up to `limit` live keys that start with `prefix`, sorted, those behind `after` only.

        Raises Failed if one of them is not known.
        """
        query = (
            f"SELECT key FROM entries WHERE namespace = ? AND key >= ? AND key > ? "  # noqa: S608
            f"AND substr(key, 1, ?) = ? AND {_LIVE} ORDER BY key LIMIT ?"
        )
        values = (namespace, prefix, after, len(prefix), prefix, now_ms, limit)
        with self._file.reading() as connection:
            is_unknown = self._file.is_all_unknown or any(
                space == namespace and key.startswith(prefix) and key > after for space, key in self._unknown
            )
            self._file.settle_if(
                is_unknown, f"keys that start with {prefix!r} were changed" if prefix else "keys were changed"
            )
            return [row[0] for row in connection.execute(query, values)]

    # -- changes, each within a transaction -------------------------------------------------------------------

    def put(
        self, namespace: str, key: str, value: bytes, expires_ms: int | None, if_revision: int | None, now_ms: int
    ) -> int:
        """Write a value and return its new revision; Conflict if the present revision is another."""
        self._expect(namespace, key, if_revision, now_ms)
        connection = self._file.open_connection()
        revision = self._change_entry(connection, namespace, key, now_ms)
        entry = (namespace, key, value, revision, expires_ms)
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", (*entry, checksum(*entry)))
        self._sum_change += identity(namespace, key, revision)
        if expires_ms is not None:
            self._expiry_ms = min(self._expiry_ms, expires_ms)
        self._damaged.discard((namespace, key))
        return revision

    def delete(self, namespace: str, key: str, if_revision: int | None, now_ms: int) -> int:
        """Remove a key and return the revision of its removal; NotFound if there is none, `conflict` as in put."""
        self._expect(namespace, key, if_revision, now_ms)
        connection = self._file.open_connection()
        query = f"SELECT 1 FROM entries WHERE namespace = ? AND key = ? AND {_LIVE}"  # noqa: S608
        if connection.execute(query, (namespace, key, now_ms)).fetchone() is None:
            raise NotFound(f"no value under {key!r}")
        revision = self._change_entry(connection, namespace, key, now_ms)
        self._damaged.discard((namespace, key))
        return revision

    def _expect(self, namespace: str, key: str, if_revision: int | None, now_ms: int) -> None:
        if if_revision is None:
            return
        entry = self.get(namespace, key, now_ms)
        present = entry.revision if entry else 0
        if present != if_revision:
            state = f"is at revision {present}" if present else "has no value"
            raise Conflict(f"{key!r} {state}, not at {if_revision}")

    def _change_entry(self, connection: sqlite3.Connection, namespace: str, key: str, now_ms: int) -> int:
        """Remove an entry if there is one, and some that have expired; return the next revision."""
        self._changed.add((namespace, key))
        query = "DELETE FROM entries WHERE namespace = ? AND key = ? RETURNING namespace, key, revision"
        removed = connection.execute(query, (namespace, key)).fetchall()
        if now_ms >= self._expiry_ms:
            removed += connection.execute(
                "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_ms <= ? LIMIT ?) "
                "RETURNING namespace, key, revision",
                (now_ms, _PURGE),
            ).fetchall()
            (first,) = connection.execute("SELECT min(expires_ms) FROM entries WHERE expires_ms IS NOT NULL").fetchone()
            self._expiry_ms = math.inf if first is None else first
        self._sum_change -= sum(identity(*entry) for entry in removed)
        return self._file.next_revision()
