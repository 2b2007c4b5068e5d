"""Durable table under the store: SQLite with a write-ahead log, one connection, used by one thread.

What is acknowledged is on the disk: WAL with synchronous=FULL syncs each commit, and `carry_out` puts all changes that
wait into one. Revisions come from one counter that is part of each transaction, so they rise for ever, over deletes and
restarts too. Expiry is wall time, because it must outlive a reboot.

The lock is EXCLUSIVE: then the index of the log is in this process's memory and not in a mapped file, whose pages a
file system may lose after a failed write (FUSE, NFS). A commit that fails may be on the disk all the same, since SQLite
only rolls back in its memory: its callers are told `outcome_unknown`, and the database is opened anew, so that its
recovery decides. All that it found is then written to the database and synced (settled) before anything else is
acknowledged. A commit that found no room, or could not be written, never got its last bytes: it is undone.

A disk that refuses to write takes no reads away. Until it has settled what is in the log, changes are refused, and so
are reads and lists of the keys whose outcome is unknown; each change, each such read and each health check has it try
again. A process that is new does not know these keys: it refuses all reads if the log has more than the mark, which
says what was acknowledged.

What the disk lost or changed is looked for when the table is opened (SQLite's own check, each value's checksum, the sum
of all entries, the mark), and again whenever a value is read. A damaged value is refused by its name; a damaged table
refuses everything; neither is ever served.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tlsrt.errors import CallError, Conflict, Failed, NotFound, OutcomeUnknown
from tlsrt.loops.disk_thread import DiskWork, outcome_of
from tlsrt.loops.secondary.mark import MarkRecord, StoreMark
from tlsrt.loops.secondary.schema import SUM_BYTES, add_identity, checksum, identity, prepare_schema

_PAGE_BYTES = 4096
_PURGE = 16  # expired entries removed beside each change, so that no change has to clean up after all others
_NAMED = 3  # damaged keys in one sentence
_DAMAGED_MOST = 1000  # that are remembered
_STEPS = 10_000  # of SQLite between two looks at the clock
CHECK_S = 5.0  # that the check of the pages may take, and that of the values: 0.3 and 0.8 s for 100 MiB of small values
_LIVE = "(expires_ms IS NULL OR expires_ms > ?)"
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNWRITTEN = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


@dataclass(frozen=True)
class TableRow:
    """One value with its revision, and when it expires (wall ms), if ever."""

    value: bytes
    revision: int
    expires_ms: int | None


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=2.0, check_same_thread=False)


class SqliteTable:
    """Entries by (namespace, key). Times are wall ms; failures are CallErrors. `open` it first.

    Methods that change something belong into work with `is_change`, for `carry_out` gives them their transaction.
    """

    def __init__(
        self, *, connect: Callable[[Path], sqlite3.Connection] = _connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._path = Path()
        self._max_bytes = 0
        self._connect = connect
        self._clock = clock
        self._mark: StoreMark | None = None
        self._connection: sqlite3.Connection | None = None
        self._is_checked = False
        self._damage = ""  # of the table as a whole: nothing is served
        self._damaged: set[tuple[str, str]] = set()
        self._problem = ""  # of the disk, with the last thing that was tried
        self._mark_problem = ""  # until the disk has the mark
        self._is_settled = False  # the database has all that is in the log, and the disk has it
        self._changed: set[tuple[str, str]] = set()  # within a transaction
        self._unknown: set[tuple[str, str]] = set()  # changed by a commit of unknown outcome that is not settled
        self._is_all_unknown = False  # a process before us has left such a commit
        self._revision = 0  # within a transaction, written to the counter at its end
        self._sum_change = 0
        self._expiry_ms = 0.0  # wall ms before which no entry expires; 0: not known
        self._notices: list[str] = []  # for as long as this process lives

    # -- opening ----------------------------------------------------------------------------------------------

    def open(self, path: Path, max_bytes: int) -> None:
        """Open or create the files, and look for damage. Raises ConfigError for a newer format, and nothing else.

        What else is wrong is told by `check` and to every caller; what passes is tried again with each call.
        """
        self._path, self._max_bytes = path, max_bytes
        self._open_again()

    def _open_again(self) -> None:
        with suppress(Failed):
            self._open()

    @property
    def _log_path(self) -> Path:
        return self._path.with_name(self._path.name + "-wal")

    def close(self) -> None:
        self._disconnect()
        if self._mark is not None:
            with suppress(OSError):
                self._mark.close(self._clock())

    def _open(self) -> sqlite3.Connection:
        """Return the connection, made if there is none; enough for reads. Raises Failed."""
        if self._damage:
            raise Failed(f"cannot serve the store: {self._damage}")
        if self._connection is not None:
            return self._connection
        try:
            if self._mark is None:
                self._mark = StoreMark(self._path.with_name("store.mark"))
            self._look_for_files(self._mark)
            if not self._damage:
                self._is_settled = False
                self._connection = self._connect(self._path)
                self._prepare(self._connection, self._mark)
            if not self._damage and self._connection is not None:
                self._look_for_unknown(self._connection, self._mark)
                self._try_to_settle()
        except sqlite3.Error as error:
            self._disconnect()
            self._note(error)
            raise Failed(f"cannot serve the store: {self._damage or error}") from None
        except OSError as error:
            self._disconnect()
            self._problem = f"the disk refuses ({error.strerror})"
            raise Failed(f"cannot serve the store: {self._problem}") from None
        except BaseException:
            self._disconnect()
            raise
        if self._damage:
            self._disconnect()
            raise Failed(f"cannot serve the store: {self._damage}")
        assert self._connection is not None
        return self._connection

    def _try_to_settle(self) -> None:
        with suppress(Failed):
            self._settle()

    def _settle(self) -> None:
        """Have the disk keep all that is in the log, and the mark. Raises Failed; then there may be reads, no more."""
        if self._is_settled or self._connection is None or self._mark is None or self._damage:
            return
        try:
            self._look_at_mark(self._connection, self._mark)
        except sqlite3.Error as error:
            self._note(error)
            self._problem = f"the disk refuses ({error})"
            raise _refused(error) from None
        except OSError as error:
            self._problem = f"the disk refuses ({error.strerror})"
            raise Failed(f"the store cannot write ({error.strerror}): nothing was changed") from None
        self._is_settled = True
        self._problem = self._mark_problem = ""
        self._unknown.clear()
        self._is_all_unknown = False

    def _look_for_unknown(self, connection: sqlite3.Connection, mark: StoreMark) -> None:
        """Find out whether the log has changes that were not acknowledged: a loss of power may still undo them."""
        (revision,) = connection.execute("SELECT revision FROM counter").fetchone()
        acknowledged = mark.record.revision if mark.record else 0
        self._is_all_unknown = revision > acknowledged and not self._unknown  # we know which those of our own are

    def _settle_if(self, is_unknown: bool, what: str) -> None:
        """Settle what is not known and is to be read now. Raises Failed."""
        if is_unknown:
            self._try_to_settle()
            if not self._is_settled:
                raise Failed(f"whether {what} is not known until the disk answers again; try again later")

    def _look_for_files(self, mark: StoreMark) -> None:
        """Refuse a database that has gone: SQLite would make an empty one, and throw its log away."""
        name, log = self._path.name, self._log_path.name
        if _size(self._path):
            return
        state = "empty" if self._path.exists() else "missing"
        has_log = _size(self._log_path) > 0
        if mark.exists or has_log:
            was = f", but it had revision {mark.record.revision}" if mark.record else ""
            what = f"{mark.path.name} and {log}" if has_log else mark.path.name
            self._damage = (
                f"{name} is {state}{was}; put it back from a backup, or move {what} away to begin with an empty store, "
                "then restart this loop"
            )

    def _prepare(self, connection: sqlite3.Connection, mark: StoreMark) -> None:
        run = connection.execute
        run(f"PRAGMA page_size = {_PAGE_BYTES}")
        run("PRAGMA locking_mode = EXCLUSIVE")  # before the log is opened: see above
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA temp_store = MEMORY")  # the sandbox has no /tmp
        run("PRAGMA journal_size_limit = 4194304")
        prepare_schema(connection)
        run(f"PRAGMA max_page_count = {max(self._max_bytes // _PAGE_BYTES, 16)}")
        if not self._is_checked:
            self._look_for_damage(connection, mark)
            self._is_checked = not self._damage

    def _look_at_mark(self, connection: sqlite3.Connection, mark: StoreMark) -> None:
        """Compare the counter with the mark, and have the disk keep both, the mark first: it knows what was lost."""
        revision = int(connection.execute("SELECT revision FROM counter").fetchone()[0])
        if mark.record is None and mark.exists and not self._notices:
            self._notices.append(f"{mark.path.name} was damaged: whether changes were lost is not known")
        record = MarkRecord(revision, mark.record.lost if mark.record else (0, 0))
        if mark.record is not None and revision < mark.record.revision:  # never give a revision twice
            first = mark.record.lost[0] or revision + 1
            record = MarkRecord(mark.record.revision, (min(first, revision + 1), mark.record.revision))
            if record != mark.record:
                self._keep_log()
                mark.record = record
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # synced, whatever became of the sync of the commit
        mark.write(record, self._clock())
        mark.sync(self._clock())
        if revision < record.revision:
            connection.execute("UPDATE counter SET revision = ?", (record.revision,))

    def _keep_log(self) -> None:
        """Keep a copy of the log of a crash: changes that were acknowledged are not in it."""
        if _size(self._log_path):
            self._log_path.with_name(self._log_path.name + ".kept").write_bytes(self._log_path.read_bytes())

    # -- damage -----------------------------------------------------------------------------------------------

    def _look_for_damage(self, connection: sqlite3.Connection, mark: StoreMark) -> None:
        """Check the pages, then each value and the sum of all, as far as that goes in `CHECK_S` each."""
        end = self._clock() + CHECK_S
        connection.set_progress_handler(lambda: self._clock() > end, _STEPS)
        try:
            found = connection.execute("PRAGMA integrity_check(3)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            found = [("ok",)]  # a large store: what was not looked at is looked at when it is read
        finally:
            connection.set_progress_handler(None, 0)
        if found != [("ok",)]:
            self._damage = _damage_of("; ".join(str(line[0]) for line in found).replace("\n", " "))
            return
        self._look_at_values(connection, mark)

    def _look_at_values(self, connection: sqlite3.Connection, mark: StoreMark) -> None:
        end = self._clock() + CHECK_S
        total = bytes(SUM_BYTES)
        query = "SELECT namespace, key, value, revision, expires_ms, checksum FROM entries"
        for number, (namespace, key, value, revision, expires_ms, expected) in enumerate(connection.execute(query)):
            if number % 256 == 0 and self._clock() > end:
                return
            if checksum(namespace, key, value, revision, expires_ms) != expected:
                self._note_damaged(namespace, key)
            total = add_identity(total, identity(namespace, key, revision))
        (expected,) = connection.execute("SELECT identities FROM counter").fetchone()
        if total == expected:
            return
        if mark.exists:
            self._damage = (
                f"entries of {self._path.name} are missing or older than they were; restore it from a backup, or "
                f"remove {mark.path.name} to accept it as it is, then restart this loop"
            )
            return
        connection.execute("UPDATE counter SET identities = ?", (total,))

    def _note_damaged(self, namespace: str, key: str) -> None:
        if len(self._damaged) < _DAMAGED_MOST:
            self._damaged.add((namespace, key))

    def _note(self, error: sqlite3.Error) -> None:
        """Remember what an error of SQLite says about the disk."""
        code = _code(error) & 0xFF
        if code in _DAMAGE:
            self._damage = _damage_of(str(error))
        elif code != sqlite3.SQLITE_FULL:
            self._problem = f"the disk refuses ({error})"

    def check(self) -> str | None:
        """Begin a change and undo it, and try again what the disk refused; return what is wrong, or None."""
        found = list(self._notices)
        try:
            connection = self._open()
            self._try_to_settle()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT revision FROM counter").fetchone()
            connection.execute("ROLLBACK")
            if self._mark_problem:
                self._sync_mark()
        except Failed as error:
            found.insert(0, error.message)
        except sqlite3.Error as error:
            self._note(error)
            found.insert(0, f"the store cannot be written ({error})")
            self._undo(connection)
        if not found and self._problem and not self._is_settled:
            reads = "neither read nor changed" if self._is_all_unknown else "read and not changed"
            found.append(f"values can be {reads}: {self._problem}")
        found += [problem for problem in (self._problem, self._mark_problem) if problem and not found]
        if self._mark is not None and self._mark.record is not None and self._mark.record.lost[1]:
            first, last = self._mark.record.lost
            found.append(
                f"changes that were acknowledged are lost, of revision {first} to {last}; restore them from a backup, "
                f"or remove {self._mark.path.name} to accept that, then restart this loop"
            )
        if self._damaged:
            names = ", ".join(repr(key) for _, key in sorted(self._damaged)[:_NAMED])
            more = f" and {len(self._damaged) - _NAMED} more" if len(self._damaged) > _NAMED else ""
            found.append(f"damaged values, which are not served: {names}{more}; put or delete them")
        return "; ".join(found) or None

    # -- work -------------------------------------------------------------------------------------------------

    def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
        """Do all in this order, neighbouring changes in one transaction; return results and exceptions."""
        outcomes: list[object] = []
        for is_change, group in groupby(works, key=lambda work: work.is_change):
            together = list(group)
            outcomes += self._change(together) if is_change else [outcome_of(work) for work in together]
        return outcomes

    def rest(self) -> None:
        if self._mark is not None and self._mark.is_due(self._clock()):
            self._sync_mark()

    def _sync_mark(self) -> None:
        assert self._mark is not None
        try:
            self._mark.sync_timed(self._clock)
        except OSError as error:
            self._note_mark(error)
        else:
            self._mark_problem = ""

    def _note_mark(self, error: OSError) -> None:
        assert self._mark is not None
        self._mark_problem = f"{self._mark.path.name} cannot be written ({error.strerror})"

    def _change(self, works: list[DiskWork[Any]]) -> list[object]:
        try:
            connection = self._open()
            self._settle()
        except Exception as error:
            return [error for _ in works]
        try:
            connection.execute("BEGIN IMMEDIATE")
            before, total = connection.execute("SELECT revision, identities FROM counter").fetchone()
            self._revision, self._sum_change = before, 0
            self._changed.clear()
            outcomes = [self._do(work) for work in works]
            if self._revision != before:
                counter = self._revision, add_identity(total, self._sum_change)
                connection.execute("UPDATE counter SET revision = ?, identities = ?", counter)
        except BaseException as error:  # SQLite may have undone all of it
            self._undo(connection)
            if len(works) > 1:  # so each alone: it is the fault of one, as on a full disk
                return [outcome for work in works for outcome in self._change([work])]
            if not isinstance(error, sqlite3.Error):  # a bug in this one
                return [error]
            self._note_unwritten(error)
            return [_refused(error)]
        if self._revision == before:
            self._undo(connection)
            return outcomes
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._note_unwritten(error)
            if _is_unwritten(error):
                self._undo(connection)
            else:
                self._unknown |= self._changed
                self._disconnect()
                self._open_again()
            return [one if isinstance(one, Exception) else _failed_commit(error) for one in outcomes]
        self._problem = ""
        self._say_revision(self._revision)
        return outcomes

    def _do(self, work: DiskWork[Any]) -> object:
        try:
            return work.run()
        except CallError as error:  # raised before the work has changed anything
            return error

    def _say_revision(self, revision: int) -> None:
        assert self._mark is not None
        try:
            self._mark.write(
                MarkRecord(revision, self._mark.record.lost if self._mark.record else (0, 0)), self._clock()
            )
        except OSError as error:  # the change itself is on the disk
            self._note_mark(error)

    def _note_unwritten(self, error: sqlite3.Error) -> None:
        """Remember an error of a change: if it is the disk's, nothing is written before that has settled the log."""
        self._note(error)
        if _code(error) != sqlite3.SQLITE_FULL:
            self._is_settled = False

    def _undo(self, connection: sqlite3.Connection) -> None:
        self._expiry_ms = 0.0
        if connection.in_transaction:  # SQLite undoes some failures by itself
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def _disconnect(self) -> None:
        self._expiry_ms = 0.0
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        connection = self._open()
        try:
            yield connection
            if self._is_settled:
                self._problem = ""
        except sqlite3.Error as error:
            if connection.in_transaction:
                raise
            self._note(error)
            raise Failed(f"cannot serve the store: {self._damage or error}") from None

    def get(self, namespace: str, key: str, now_ms: int) -> TableRow | None:
        """Return the live entry of a key, or None; Failed if it is damaged, or not known."""
        query = f"SELECT value, revision, expires_ms, checksum FROM entries WHERE namespace = ? AND key = ? AND {_LIVE}"  # noqa: S608
        with self._reading() as connection:
            self._settle_if(self._is_all_unknown or (namespace, key) in self._unknown, f"{key!r} was changed")
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
        with self._reading() as connection:
            is_unknown = self._is_all_unknown or any(
                space == namespace and key.startswith(prefix) and key > after for space, key in self._unknown
            )
            self._settle_if(
                is_unknown, f"keys that start with {prefix!r} were changed" if prefix else "keys were changed"
            )
            return [row[0] for row in connection.execute(query, values)]

    # Changes, each within a transaction

    def put(
        self, namespace: str, key: str, value: bytes, expires_ms: int | None, if_revision: int | None, now_ms: int
    ) -> int:
        """Write a value and return its new revision; Conflict if the present revision is another."""
        self._expect(namespace, key, if_revision, now_ms)
        connection = self._open()
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
        connection = self._open()
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
        self._revision += 1
        return self._revision


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0)


def _is_unwritten(error: sqlite3.Error) -> bool:
    return _code(error) in _UNWRITTEN


def _damage_of(found: str) -> str:
    return f"its database is damaged ({found}); restore store.sqlite from a backup, then restart this loop"


def _failed_commit(error: sqlite3.Error) -> CallError:
    """Return what a commit that failed is for its callers: its last bytes are written only after all others."""
    if _is_unwritten(error):
        return _refused(error)
    return OutcomeUnknown(f"the store could not finish writing ({error}): read the key to see whether it was changed")


def _refused(error: sqlite3.Error) -> Failed:
    return Failed(f"the store cannot write ({error}): nothing was changed")
