"""Entries of the store, in a file of SQLite: values with revisions, checksums and expiry.

Revisions rise over deletes too. Expiry is wall time, because it must outlive a reboot. How changes come to the disk,
and what a bad disk does to them, is SqliteFile's; this knows which keys a commit of unknown outcome has
changed, and refuses only reads of these until it is settled.

Each value has a checksum, and the counter has the sum of all entries: they are compared when the file is opened, and
again whenever a value is read. A damaged value is refused by its name, and never served.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlsrt import CallError, Conflict, DiskWork, Failed, NotFound, SqliteContent, SqliteFile
from tlsrt.loops.secondary.namespaces import Quota
from tlsrt.loops.secondary.past import Change, Past, PastLimits, Version
from tlsrt.loops.secondary.schema import SUM_BYTES, add_identity, checksum, identity, prepare_schema

_NAMED = 3  # damaged keys in one sentence
_DAMAGED_MOST = 1000  # that are remembered
_LIVE = "(expires_ms IS NULL OR expires_ms > ?)"
_FIRST = "hex(substr(value, 1, 1))"
_IS_TEXT = f"({_FIRST} BETWEEN 'A0' AND 'BF' OR {_FIRST} IN ('D9', 'DA', 'DB'))"  # the strings of msgpack


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
        self._usage: dict[str, list[int]] = {}  # keys and bytes of the namespaces that have a quota
        self._past = Past()
        self._past_notice = ""

    def open(self, path: Path, max_bytes: int, limits: PastLimits | None = None) -> None:
        """Open or create the files, as SqliteFile does; `limits` says how much of the past is kept."""
        self._name = path.name
        if limits is not None:
            self._past.limit(limits)
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
        self._past.prepare(connection)

    def look(self, connection: sqlite3.Connection, is_late: Callable[[], bool], mark: str) -> str:
        """Compare each value with its checksum, all with their sum, then the past."""
        if found := self._look_at_entries(connection, is_late, mark):
            return found
        if not self._past.is_whole(connection, is_late):
            revision = self.revision(connection)
            self._past.drop(connection, revision)
            self._past_notice = f"the history was damaged and is dropped: it begins anew at revision {revision}"
        return ""

    def _look_at_entries(self, connection: sqlite3.Connection, is_late: Callable[[], bool], mark: str) -> str:
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
        """Go on behind a revision that the disk has lost, and one more: who watches since the last one misses some."""
        connection.execute("UPDATE counter SET revision = ?", (revision + 1,))

    def begin(self, connection: sqlite3.Connection) -> int:
        revision, self._sum = connection.execute("SELECT revision, identities FROM counter").fetchone()
        self._sum_change = 0
        self._changed.clear()
        self._past.begin(connection, revision)
        return int(revision)

    def finish(self, connection: sqlite3.Connection, revision: int) -> None:
        self._past.finish(connection, revision)
        counter = revision, add_identity(self._sum, self._sum_change)
        connection.execute("UPDATE counter SET revision = ?, identities = ?", counter)

    def is_of_caller(self, error: Exception) -> bool:
        return isinstance(error, CallError)  # raised before the work has changed anything

    def undone(self) -> None:
        """What a transaction keeps here is read again by the next, and usage is counted anew."""
        self._usage.clear()

    def unknown(self) -> None:
        self._unknown |= self._changed

    def settled(self) -> None:
        self._unknown.clear()

    @property
    def has_unknown(self) -> bool:
        return bool(self._unknown)

    def troubles(self) -> list[str]:
        notices = [self._past_notice] if self._past_notice else []
        if not self._damaged:
            return notices
        names = ", ".join(repr(key) for _, key in sorted(self._damaged)[:_NAMED])
        more = f" and {len(self._damaged) - _NAMED} more" if len(self._damaged) > _NAMED else ""
        return [f"damaged values, which are not served: {names}{more}; put or delete them", *notices]

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

    def texts(self, namespace: str, most: int, now_ms: int) -> dict[str, int]:
        """Return the revisions of live values that are strings, the newest, by key. Raises Failed as `keys`."""
        query = (
            f"SELECT key, revision FROM entries WHERE namespace = ? AND {_LIVE} AND {_IS_TEXT} "  # noqa: S608
            "ORDER BY revision DESC LIMIT ?"
        )
        with self._file.reading() as connection:
            self._settle_all()
            return dict(connection.execute(query, (namespace, now_ms, most)).fetchall())

    def position(self) -> tuple[int, int, int]:
        """Return the revision, from which one on all changes are kept, and the bytes of replaced values."""
        with self._file.reading() as connection:
            self._settle_all()
            revision = self.revision(connection)
            return (revision, *self._past.position(connection, revision))

    def changes(self, since: int, limit: int) -> list[Change]:
        """Return the changes of all namespaces behind a revision. Raises as `Past.changes`."""
        with self._file.reading() as connection:
            self._settle_all()
            return self._past.changes(connection, self.revision(connection), since, limit)

    def history(self, namespace: str, key: str, limit: int, now_ms: int) -> list[Version]:
        """Return the versions of a live key, the present one first; none if it has no value."""
        entry = self.get(namespace, key, now_ms)
        if entry is None:
            return []
        with self._file.reading() as connection:
            if not self._past.is_current(connection, self.revision(connection)):
                return [Version(entry.revision, len(entry.value), None)][:limit]
            present = Version(entry.revision, len(entry.value), self._past.put_at_ms(connection, entry.revision))
            return [present, *self._past.versions(connection, namespace, key, limit)][:limit]

    def version(self, namespace: str, key: str, revision: int, now_ms: int) -> bytes | None:
        """Return the value that a live key has or had at a revision, None if it is not kept."""
        entry = self.get(namespace, key, now_ms)
        if entry is None:
            return None
        if entry.revision == revision:
            return entry.value
        with self._file.reading() as connection:
            if not self._past.is_current(connection, self.revision(connection)):
                return None  # an older runtime may have deleted the key meanwhile, and put it anew
            return self._past.value(connection, namespace, key, revision)

    def _settle_all(self) -> None:
        self._file.settle_if(self._file.is_all_unknown or bool(self._unknown), "values were changed")

    # -- changes, each within a transaction -------------------------------------------------------------------

    def put(
        self, namespace: str, key: str, value: bytes, expires_ms: int | None, if_revision: int | None, now_ms: int,
        quota: Quota | None = None,
    ) -> int:  # fmt: skip
        """Write a value and return its new revision; Conflict if the present one is another, Failed over the quota."""
        self._expect(namespace, key, if_revision, now_ms)
        connection = self._file.open_connection()
        if quota is not None:
            self._expect_room(connection, namespace, key, len(value), quota)
        revision = self._change_entry(connection, namespace, key, "put", now_ms, size=len(value))
        entry = (namespace, key, value, revision, expires_ms)
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", (*entry, checksum(*entry)))
        self._sum_change += identity(namespace, key, revision)
        self._use(namespace, 1, len(value))
        self._damaged.discard((namespace, key))
        return revision

    def _expect_room(self, connection: sqlite3.Connection, namespace: str, key: str, size: int, quota: Quota) -> None:
        """Raise Failed if a value would be too much for its namespace; what has expired counts until it is removed."""
        if quota.max_bytes is None and quota.max_keys is None:
            return
        if namespace not in self._usage:
            query = "SELECT count(*), coalesce(sum(length(value)), 0) FROM entries WHERE namespace = ?"
            self._usage[namespace] = [*connection.execute(query, (namespace,)).fetchone()]
        query = "SELECT length(value) FROM entries WHERE namespace = ? AND key = ?"
        row = connection.execute(query, (namespace, key)).fetchone()
        keys, held = self._usage[namespace]
        quota.check(namespace, held, keys, size - (row[0] if row else 0), int(row is None))

    def _use(self, namespace: str, keys: int, size: int) -> None:
        if (usage := self._usage.get(namespace)) is not None:
            usage[0] += keys
            usage[1] += size

    def delete(self, namespace: str, key: str, if_revision: int | None, now_ms: int) -> int:
        """Remove a key and return the revision of its removal; NotFound if there is none, `conflict` as in put."""
        self._expect(namespace, key, if_revision, now_ms)
        connection = self._file.open_connection()
        query = f"SELECT 1 FROM entries WHERE namespace = ? AND key = ? AND {_LIVE}"  # noqa: S608
        if connection.execute(query, (namespace, key, now_ms)).fetchone() is None:
            raise NotFound(f"no value under {key!r}")
        revision = self._change_entry(connection, namespace, key, "delete", now_ms)
        self._damaged.discard((namespace, key))
        return revision

    def expire(self, now_ms: int, limit: int) -> tuple[list[Change], int | None]:
        """Remove up to so many values that have expired; return these changes, and when the next expires, if any."""
        connection = self._file.open_connection()
        query = "SELECT namespace, key FROM entries WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?"
        expired = []
        for namespace, key in connection.execute(query, (now_ms, limit)).fetchall():
            revision = self._change_entry(connection, namespace, key, "expire", now_ms)
            self._damaged.discard((namespace, key))
            expired.append(Change(revision, namespace, key, "expire", now_ms))
        (first,) = connection.execute("SELECT min(expires_ms) FROM entries WHERE expires_ms IS NOT NULL").fetchone()
        return expired, first

    def _expect(self, namespace: str, key: str, if_revision: int | None, now_ms: int) -> None:
        if if_revision is None:
            return
        entry = self.get(namespace, key, now_ms)
        present = entry.revision if entry else 0
        if present != if_revision:
            state = f"is at revision {present}" if present else "has no value"
            raise Conflict(f"{key!r} {state}, not at {if_revision}")

    def _change_entry(
        self, connection: sqlite3.Connection, namespace: str, key: str, operation: str, now_ms: int, size: int = 0
    ) -> int:
        """Remove an entry if there is one, note the change in the past; return the next revision."""
        self._changed.add((namespace, key))
        has_room = self._past.make_room(connection, size)
        query = "DELETE FROM entries WHERE namespace = ? AND key = ? RETURNING value, revision, expires_ms, checksum"
        removed = connection.execute(query, (namespace, key)).fetchone()
        if removed is not None:
            value, revision, expires_ms, found = removed
            self._sum_change -= identity(namespace, key, revision)
            self._use(namespace, -1, -len(value))
            is_replaced = operation == "put" and (expires_ms is None or expires_ms > now_ms)
            if not is_replaced:
                self._past.forget(connection, namespace, key)
            elif has_room and expires_ms is None and checksum(namespace, key, value, revision, None) == found:
                self._past.keep_version(connection, namespace, key, value, revision, found)
        change = Change(self._file.next_revision(), namespace, key, operation, now_ms)
        self._past.add(connection, change, has_room=has_room)
        return change.revision
