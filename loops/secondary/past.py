"""The past of the store: what was changed, in order, and the values that keys had before.

Two tables beside the entries. `changes` has one row for each revision behind `first`, so that a watcher goes on where
it ended. `versions` has the values that were replaced. Both are bounded, and give way to values when the store is full.

What was deleted, has expired, or was to expire leaves no value here. Where the last change is not of the store's
revision (an older runtime wrote meanwhile, or changes were lost) the past begins anew, for it
would have a hole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tlsrt import Conflict, Failed, InvalidArgument
from tlsrt.loops.secondary.schema import checksum

_TABLES = (
    "CREATE TABLE IF NOT EXISTS changes (revision INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL, "
    "operation TEXT NOT NULL, at_ms INTEGER NOT NULL, checksum BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS versions (revision INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL, "
    "value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT",
    "CREATE INDEX IF NOT EXISTS versions_key ON versions (namespace, key, revision)",
    "CREATE TABLE IF NOT EXISTS past (only INTEGER PRIMARY KEY CHECK (only = 1), first INTEGER NOT NULL, "
    "bytes INTEGER NOT NULL) STRICT",
)
_PAGE_BYTES = 4096
_SPARE_PAGES = 8  # that a change may take beside its value: splits in four trees
_SLACK = 64  # changes beyond the bound, so that not each one has to remove another


@dataclass(frozen=True)
class PastLimits:
    """How much of the past is kept: changes in all, versions of a key, and bytes of all versions."""

    changes: int = 10_000
    versions: int = 10
    size: int = 8 << 20


@dataclass(frozen=True)
class Change:
    """One change: put, delete or expire, and when (wall ms)."""

    revision: int
    namespace: str
    key: str
    operation: str
    at_ms: int


@dataclass(frozen=True)
class Version:
    """A value that a key had; when it was put (wall ms) is None if that change is no longer kept."""

    revision: int
    size: int
    at_ms: int | None


class Past:
    """The tables of the past. `begin`, `finish` and what is between them belong into one transaction."""

    def __init__(self) -> None:
        self._limits = PastLimits()
        self._has_tables = False
        self._first = self._bytes = 0  # within a transaction
        self._written = (-1, 0)  # what the disk has of these

    def limit(self, limits: PastLimits) -> None:
        """Set the bounds, before the file is opened."""
        self._limits = limits

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables if they are missing, as in a store of an older runtime; a disk that refuses takes no reads.

        Then there is no past, and the next change tries again.
        """
        self._has_tables = False
        with suppress(sqlite3.OperationalError):
            self._make_tables(connection)

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        for statement in _TABLES:
            connection.execute(statement)
        self._has_tables = True

    def is_whole(self, connection: sqlite3.Connection, is_late: Callable[[], bool]) -> bool:
        """Compare all with the checksums, and look for holes, until it is late."""
        if not self._has_tables:
            return True
        first, last, _ = self._read(connection)
        count = 0
        query = "SELECT revision, namespace, key, operation, at_ms, checksum FROM changes"
        for count, (revision, namespace, key, operation, at_ms, expected) in enumerate(connection.execute(query), 1):
            if count % 256 == 0 and is_late():
                return True
            if _sum_of(Change(revision, namespace, key, operation, at_ms)) != expected:
                return False
        query = "SELECT namespace, key, value, revision, checksum FROM versions"
        for number, (namespace, key, value, revision, expected) in enumerate(connection.execute(query)):
            if number % 256 == 0 and is_late():
                return True
            if checksum(namespace, key, value, revision, None) != expected:
                return False
        return count == last - first

    # -- changes ----------------------------------------------------------------------------------------------

    def begin(self, connection: sqlite3.Connection, revision: int) -> None:
        """Go on behind this revision of the store, or begin anew there."""
        if not self._has_tables:
            self._make_tables(connection)
        self._first, last, self._bytes = self._read(connection)
        self._written = self._first, self._bytes
        if last != revision:
            self.drop(connection, revision)

    def drop(self, connection: sqlite3.Connection, revision: int) -> None:
        """Forget all of it; the first change that is kept is the one behind this revision."""
        connection.execute("DELETE FROM changes")
        connection.execute("DELETE FROM versions")
        self._first, self._bytes = revision, 0
        self._write(connection)

    def finish(self, connection: sqlite3.Connection, revision: int) -> None:
        """Remove what is too much, and write how far the past goes."""
        if revision - self._first > self._limits.changes + (_SLACK if self._limits.changes else 0):
            self._drop_changes(connection, revision - self._limits.changes)
        while self._bytes > self._limits.size and self._drop_versions(connection):
            pass
        if (self._first, self._bytes) != self._written:  # most changes need no page of it
            self._write(connection)

    def make_room(self, connection: sqlite3.Connection, size: int) -> bool:
        """Give way to a change with a value of this size; False if it has no room for itself then."""
        need = size // _PAGE_BYTES + _SPARE_PAGES
        fresh = _pragma(connection, "max_page_count") - _pragma(connection, "page_count")
        while fresh < need and fresh + _pragma(connection, "freelist_count") < need:
            if not self._drop_versions(connection) and not self._drop_older_changes(connection):
                return False
        return True

    def add(self, connection: sqlite3.Connection, change: Change, *, has_room: bool) -> None:
        """Keep a change; without room only that there is none up to here."""
        if not has_room:
            self._first = change.revision
            return
        row = (change.revision, change.namespace, change.key, change.operation, change.at_ms, _sum_of(change))
        connection.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", row)

    def keep_version(
        self, connection: sqlite3.Connection, namespace: str, key: str, value: bytes, revision: int, found: bytes
    ) -> None:
        """Keep a value that was replaced, with the checksum that it had, and not too many of its key."""
        if not self._limits.versions or len(value) > self._limits.size:
            return
        row = (revision, namespace, key, value, found)
        connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", row)
        self._bytes += len(value)
        self._remove_versions(
            connection,
            "namespace = ? AND key = ? AND revision <= (SELECT revision FROM versions WHERE namespace = ? AND key = ? "
            "ORDER BY revision DESC LIMIT 1 OFFSET ?)",
            (namespace, key, namespace, key, self._limits.versions),
        )

    def forget(self, connection: sqlite3.Connection, namespace: str, key: str) -> None:
        """Remove the values that a key had."""
        self._remove_versions(connection, "namespace = ? AND key = ?", (namespace, key))

    def _remove_versions(self, connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> int:
        query = f"DELETE FROM versions WHERE {where} RETURNING length(value)"  # noqa: S608
        removed = connection.execute(query, values).fetchall()
        self._bytes -= sum(size for (size,) in removed)
        return len(removed)

    def _drop_versions(self, connection: sqlite3.Connection) -> bool:
        """Remove the older half of the versions; False if there are none."""
        (count,) = connection.execute("SELECT count(*) FROM versions").fetchone()
        older = "revision IN (SELECT revision FROM versions ORDER BY revision LIMIT ?)"
        return bool(count and self._remove_versions(connection, older, ((count + 1) // 2,)))

    def _drop_older_changes(self, connection: sqlite3.Connection) -> bool:
        (count,) = connection.execute("SELECT count(*) FROM changes").fetchone()
        if not count:
            return False
        self._drop_changes(connection, self._first + (count + 1) // 2)
        return True

    def _drop_changes(self, connection: sqlite3.Connection, first: int) -> None:
        connection.execute("DELETE FROM changes WHERE revision <= ?", (first,))
        self._first = first

    # -- reads ------------------------------------------------------------------------------------------------

    def position(self, connection: sqlite3.Connection, revision: int) -> tuple[int, int]:
        """Return from which revision on all changes are kept, and the bytes of the versions."""
        first, last, size = self._read(connection)
        return (first, size) if last == revision else (revision, 0)

    def is_current(self, connection: sqlite3.Connection, revision: int) -> bool:
        """Tell whether it ends at this revision of the store; else it is dropped with the next change."""
        return self._read(connection)[1] == revision

    def changes(self, connection: sqlite3.Connection, revision: int, since: int, limit: int) -> list[Change]:
        """Return the changes behind a revision, at most so many. Raises InvalidArgument, Conflict, Failed."""
        if since > revision:
            raise InvalidArgument(f"since: {since} is not yet there, the store is at revision {revision}")
        first, _ = self.position(connection, revision)
        if since < first:
            raise Conflict(
                f"changes up to revision {first} are no longer kept, so those since {since} are not all there; "
                f"read the keys anew and watch since {revision}"
            )
        found = []
        query = (
            "SELECT revision, namespace, key, operation, at_ms, checksum FROM changes WHERE revision > ? "
            "ORDER BY revision LIMIT ?"
        )
        for number, (*row, expected) in enumerate(connection.execute(query, (since, limit)), since + 1):
            change = Change(*row)
            if change.revision != number or _sum_of(change) != expected:
                raise Failed(
                    f"the change of revision {number} is damaged on the disk; read the keys anew and watch since "
                    f"{revision}"
                )
            found.append(change)
        return found

    def versions(self, connection: sqlite3.Connection, namespace: str, key: str, limit: int) -> list[Version]:
        """Return the versions of a key, the latest first."""
        query = (
            "SELECT versions.revision, length(value), at_ms FROM versions LEFT JOIN changes USING (revision) "
            "WHERE versions.namespace = ? AND versions.key = ? ORDER BY versions.revision DESC LIMIT ?"
        )
        return [Version(*row) for row in connection.execute(query, (namespace, key, limit))]

    def put_at_ms(self, connection: sqlite3.Connection, revision: int) -> int | None:
        """Return when a change was made, None if it is no longer kept."""
        row = connection.execute("SELECT at_ms FROM changes WHERE revision = ?", (revision,)).fetchone()
        return None if row is None else int(row[0])

    def value(self, connection: sqlite3.Connection, namespace: str, key: str, revision: int) -> bytes | None:
        """Return a value that a key had, None if it is not kept. Raises Failed if it is damaged."""
        query = "SELECT value, checksum FROM versions WHERE revision = ? AND namespace = ? AND key = ?"
        row = connection.execute(query, (revision, namespace, key)).fetchone()
        if row is None:
            return None
        if checksum(namespace, key, row[0], revision, None) != row[1]:
            raise Failed(f"the value of {key!r} at revision {revision} is damaged on the disk and is not served")
        return bytes(row[0])

    def _read(self, connection: sqlite3.Connection) -> tuple[int, int, int]:
        if not self._has_tables:
            return -1, -1, 0
        row = connection.execute("SELECT first, (SELECT max(revision) FROM changes), bytes FROM past").fetchone()
        if row is None:
            return -1, -1, 0  # not the store's revision
        first, last, size = row
        return first, first if last is None else last, size

    def _write(self, connection: sqlite3.Connection) -> None:
        self._written = self._first, self._bytes
        connection.execute("INSERT OR REPLACE INTO past VALUES (1, ?, ?)", self._written)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _sum_of(change: Change) -> bytes:
    return checksum(change.namespace, change.key, change.operation.encode(), change.revision, change.at_ms)
