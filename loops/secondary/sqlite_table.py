"""Durable table under the store: SQLite with a write-ahead log, one connection, one thread.

What `put` and `delete` return from is on the disk: WAL with synchronous=FULL syncs each commit (measured: 0.3 ms in
the middle, short enough to do in the event loop, where no thread may be started). Revisions come from one counter
that is part of each transaction, so they rise for ever, over deletes and restarts too. A full disk fails the one
change and leaves everything else as it was. Expiry is wall time, because it must outlive a reboot.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tlsrt.errors import ConfigError, Conflict, Failed, NotFound

_PAGE_BYTES = 4096
_PURGE = 16  # expired entries removed beside each change, so that no change has to clean up after all others
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE entries (
    namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, revision INTEGER NOT NULL, expires_ms INTEGER,
    UNIQUE (namespace, key)
) STRICT;
CREATE INDEX entries_expiry ON entries (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE counter (only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES (1, 0);
"""
_LIVE = "(expires_ms IS NULL OR expires_ms > ?)"


@dataclass(frozen=True)
class TableRow:
    """One value with its revision, and when it expires (wall ms), if ever."""

    value: bytes
    revision: int
    expires_ms: int | None


class SqliteTable:
    """Entries by (namespace, key). Every method takes the wall time in ms; failures are CallErrors."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open or create the file; ConfigError if it is damaged or of another version."""
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=2.0)
        try:
            self._prepare(max_bytes)
        except sqlite3.Error as error:
            self._connection.close()
            raise ConfigError(f"cannot open the store {path}: {error}; restore it from a backup or remove it") from None

    def _prepare(self, max_bytes: int) -> None:
        run = self._connection.execute
        run(f"PRAGMA page_size = {_PAGE_BYTES}")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA temp_store = MEMORY")  # the sandbox has no /tmp
        run("PRAGMA journal_size_limit = 4194304")
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it has format {version}, this runtime reads {_SCHEMA_VERSION}")
        run(f"PRAGMA max_page_count = {max(max_bytes // _PAGE_BYTES, 16)}")

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _change(self) -> Generator[sqlite3.Connection, None, None]:
        """One transaction: committed at the end of the block, else undone and told as Failed."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise Failed(f"the store cannot write ({error}): nothing was changed") from None
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._connection.in_transaction:  # SQLite undoes some failures by itself
            self._connection.execute("ROLLBACK")

    def check(self) -> None:
        """Read something and begin a change; Failed if that is not possible."""
        with self._change() as connection:
            connection.execute("SELECT revision FROM counter").fetchone()

    def get(self, namespace: str, key: str, now_ms: int) -> TableRow | None:
        """Return the live entry of a key, or None."""
        query = f"SELECT value, revision, expires_ms FROM entries WHERE namespace = ? AND key = ? AND {_LIVE}"  # noqa: S608
        try:
            row = self._connection.execute(query, (namespace, key, now_ms)).fetchone()
        except sqlite3.Error as error:
            raise Failed(f"the store cannot read ({error})") from None
        return TableRow(*row) if row else None

    def keys(self, namespace: str, prefix: str, after: str, limit: int, now_ms: int) -> list[str]:
        """Return up to `limit` live keys that start with `prefix`, sorted, those behind `after` only."""
        query = (
            f"SELECT key FROM entries WHERE namespace = ? AND key >= ? AND key > ? "  # noqa: S608
            f"AND substr(key, 1, ?) = ? AND {_LIVE} ORDER BY key LIMIT ?"
        )
        values = (namespace, prefix, after, len(prefix), prefix, now_ms, limit)
        try:
            return [row[0] for row in self._connection.execute(query, values)]
        except sqlite3.Error as error:
            raise Failed(f"the store cannot read ({error})") from None

    def put(
        self, namespace: str, key: str, value: bytes, expires_ms: int | None, if_revision: int | None, now_ms: int
    ) -> int:
        """Write a value and return its new revision; Conflict if the present revision is another."""
        with self._change() as connection:
            self._expect(namespace, key, if_revision, now_ms)
            revision = self._next_revision(connection, now_ms)
            connection.execute(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", (namespace, key, value, revision, expires_ms)
            )
        return revision

    def delete(self, namespace: str, key: str, if_revision: int | None, now_ms: int) -> int:
        """Remove a key and return the revision of its removal; NotFound if there is none, `conflict` as in put."""
        with self._change() as connection:
            self._expect(namespace, key, if_revision, now_ms)
            if self.get(namespace, key, now_ms) is None:
                raise NotFound(f"no value under {key!r}")
            connection.execute("DELETE FROM entries WHERE namespace = ? AND key = ?", (namespace, key))
            return self._next_revision(connection, now_ms)

    def _expect(self, namespace: str, key: str, if_revision: int | None, now_ms: int) -> None:
        if if_revision is None:
            return
        entry = self.get(namespace, key, now_ms)
        present = entry.revision if entry else 0
        if present != if_revision:
            state = f"is at revision {present}" if present else "has no value"
            raise Conflict(f"{key!r} {state}, not at {if_revision}")

    def _next_revision(self, connection: sqlite3.Connection, now_ms: int) -> int:
        connection.execute(
            "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_ms <= ? LIMIT ?)",
            (now_ms, _PURGE),
        )
        connection.execute("UPDATE counter SET revision = revision + 1")
        return int(connection.execute("SELECT revision FROM counter").fetchone()[0])
