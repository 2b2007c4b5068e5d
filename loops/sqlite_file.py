"""A file of SQLite whose acknowledged changes are on the disk, and whose damage and losses are found.

One connection, used by one thread (disk_thread.py), which has it as its worker. What is in the file is its content: the
entries of the store, or the tables of a component; it is told what happens and asked what it knows.

What is acknowledged is on the disk: WAL with synchronous=FULL syncs each commit, and `carry_out` puts all changes that
wait into one. Revisions come from one counter that is part of each transaction, so they rise for ever, over restarts
too.

The lock is EXCLUSIVE: then the index of the log is in this process's memory and not in a mapped file, whose pages a
file system may lose after a failed write (FUSE, NFS). A commit that fails may be on the disk all the same, since SQLite
only rolls back in its memory: its callers are told `outcome_unknown`, and the file is opened anew, so that its recovery
decides. All that it found is then written to the database and synced (settled) before anything else is acknowledged. A
commit that found no room, or could not be written, never got its last bytes: it is undone.

A disk that refuses to write takes no reads away. Until it has settled what is in the log, changes are refused, and so
are reads of what is not known; each change, each such read and each health check has it try again. A process that is
new does not know what that is: it refuses all reads if the log has more than the mark (sqlite_mark.py), which says what
was acknowledged.

What the disk lost or changed is looked for when the file is opened: by SQLite's own check, by its content, and by the
mark. A damaged file refuses everything.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from tlsrt.errors import CallError, Failed, OutcomeUnknown
from tlsrt.loops.disk_thread import DiskWork, outcome_of
from tlsrt.loops.sqlite_connection import PAGE_BYTES, connect, damage_of_pages
from tlsrt.loops.sqlite_content import SqliteContent
from tlsrt.loops.sqlite_errors import is_damage, is_full, is_unwritten, size_of
from tlsrt.loops.sqlite_mark import MarkRecord, SqliteMark

CHECK_S = 5.0  # that the check of the pages may take, and that of the values: 0.3 and 0.8 s for 100 MiB of small values


class SqliteFile:
    """A file of SQLite whose acknowledged changes are on the disk, for who needs more than `database` gives.

    It is the worker of a `DiskThread`, and is told by its content what is in it. Failures are CallErrors. `open` it
    first; `clock` is monotonic, in seconds.
    """

    def __init__(
        self, content: SqliteContent, *, connect: Callable[[Path], sqlite3.Connection] = connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._content = content
        self._noun = content.noun
        self._path = Path()
        self._max_bytes = 0
        self._connect = connect
        self._clock = clock
        self._mark: SqliteMark | None = None
        self._connection: sqlite3.Connection | None = None
        self._is_checked = False
        self._damage = ""  # of all of it: nothing is served
        self._problem = ""  # of the disk, with the last thing that was tried
        self._mark_problem = ""  # until the disk has the mark
        self._is_settled = False  # the database has all that is in the log, and the disk has it
        self.is_all_unknown = False  # a process before us has left a commit that is not settled
        self._revision = 0  # within a transaction
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
            self.open_connection()

    @property
    def _log_path(self) -> Path:
        return self._path.with_name(self._path.name + "-wal")

    def close(self) -> None:
        self._disconnect()
        if self._mark is not None:
            with suppress(OSError):
                self._mark.close(self._clock())

    def open_connection(self) -> sqlite3.Connection:
        """Return the connection, made if there is none; enough for reads. Raises Failed."""
        if self._damage:
            raise self._unserved(self._damage)
        if self._connection is not None:
            return self._connection
        try:
            if self._mark is None:
                self._mark = SqliteMark(self._path.with_suffix(".mark"))
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
            raise self._unserved(self._damage or str(error)) from None
        except OSError as error:
            self._disconnect()
            self._problem = f"the disk refuses ({error.strerror})"
            raise self._unserved(self._problem) from None
        except BaseException:
            self._disconnect()
            raise
        if self._damage:
            self._disconnect()
            raise self._unserved(self._damage)
        assert self._connection is not None
        return self._connection

    def _unserved(self, why: str) -> Failed:
        return Failed(f"cannot serve the {self._noun}: {why}")

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
            raise self._refused(str(error)) from None
        except OSError as error:
            self._problem = f"the disk refuses ({error.strerror})"
            raise self._refused(str(error.strerror)) from None
        self._is_settled = True
        self._problem = self._mark_problem = ""
        self._content.settled()
        self.is_all_unknown = False

    def _look_for_unknown(self, connection: sqlite3.Connection, mark: SqliteMark) -> None:
        """Find out whether the log has changes that were not acknowledged: a loss of power may still undo them."""
        acknowledged = mark.record.revision if mark.record else 0
        revision = self._content.revision(connection)
        self.is_all_unknown = revision > acknowledged and not self._content.has_unknown  # it knows which are ours

    def settle_if(self, is_unknown: bool, what: str) -> None:
        """Settle what is not known and is to be read now; `what` follows on "whether". Raises Failed."""
        if is_unknown:
            self._try_to_settle()
            if not self._is_settled:
                raise Failed(f"whether {what} is not known until the disk answers again; try again later")

    def _look_for_files(self, mark: SqliteMark) -> None:
        """Refuse a database that has gone: SQLite would make an empty one, and throw its log away."""
        name, log = self._path.name, self._log_path.name
        if size_of(self._path):
            return
        state = "empty" if self._path.exists() else "missing"
        has_log = size_of(self._log_path) > 0
        if mark.exists or has_log:
            was = f", but it had revision {mark.record.revision}" if mark.record else ""
            what = f"{mark.path.name} and {log}" if has_log else mark.path.name
            self._damage = (
                f"{name} is {state}{was}; put it back from a backup, or move {what} away to begin with an empty "
                f"{self._noun}, then restart this loop"
            )

    def _prepare(self, connection: sqlite3.Connection, mark: SqliteMark) -> None:
        run = connection.execute
        run(f"PRAGMA page_size = {PAGE_BYTES}")
        run("PRAGMA locking_mode = EXCLUSIVE")  # before the log is opened: see above
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA temp_store = MEMORY")  # the sandbox has no /tmp
        run("PRAGMA journal_size_limit = 4194304")
        self._content.prepare(connection)
        run(f"PRAGMA max_page_count = {max(self._max_bytes // PAGE_BYTES, 16)}")
        if not self._is_checked:
            self._look_for_damage(connection, mark)
            self._is_checked = not self._damage

    def _look_at_mark(self, connection: sqlite3.Connection, mark: SqliteMark) -> None:
        """Compare the counter with the mark, and have the disk keep both, the mark first: it knows what was lost."""
        revision = self._content.revision(connection)
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
            self._content.set_revision(connection, record.revision)

    def _keep_log(self) -> None:
        """Keep a copy of the log of a crash: changes that were acknowledged are not in it."""
        if size_of(self._log_path):
            self._log_path.with_name(self._log_path.name + ".kept").write_bytes(self._log_path.read_bytes())

    # -- damage -----------------------------------------------------------------------------------------------

    def _look_for_damage(self, connection: sqlite3.Connection, mark: SqliteMark) -> None:
        """Check the pages, then what is in them, as far as that goes in `CHECK_S` each."""
        pages_end = self._clock() + CHECK_S
        if found := damage_of_pages(connection, lambda: self._clock() > pages_end):
            self._damage = self._damage_of(found)
            return
        end = self._clock() + CHECK_S
        self._damage = self._content.look(
            connection, lambda: self._clock() > end, mark.path.name if mark.exists else ""
        )

    def _damage_of(self, found: str) -> str:
        return f"its database is damaged ({found}); restore {self._path.name} from a backup, then restart this loop"

    def _note(self, error: sqlite3.Error) -> None:
        """Remember what an error of SQLite says about the disk."""
        if is_damage(error):
            self._damage = self._damage_of(str(error))
        elif not is_full(error):
            self._problem = f"the disk refuses ({error})"

    def check(self) -> str | None:
        """Begin a change and undo it, and try again what the disk refused; return what is wrong, or None."""
        found = list(self._notices)
        try:
            connection = self.open_connection()
            self._try_to_settle()
            connection.execute("BEGIN IMMEDIATE")
            self._content.revision(connection)
            connection.execute("ROLLBACK")
            if self._mark_problem:
                self._sync_mark()
        except Failed as error:
            found.insert(0, error.message)
        except sqlite3.Error as error:
            self._note(error)
            found.insert(0, f"the {self._noun} cannot be written ({error})")
            self._undo(connection)
        if not found and self._problem and not self._is_settled:
            reads = "neither read nor changed" if self.is_all_unknown else "read and not changed"
            found.append(f"{self._content.parts} can be {reads}: {self._problem}")
        found += [problem for problem in (self._problem, self._mark_problem) if problem and not found]
        if self._mark is not None and self._mark.record is not None and self._mark.record.lost[1]:
            first, last = self._mark.record.lost
            found.append(
                f"changes that were acknowledged are lost, of revision {first} to {last}; restore them from a backup, "
                f"or remove {self._mark.path.name} to accept that, then restart this loop"
            )
        return "; ".join([*found, *self._content.troubles()]) or None

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

    def next_revision(self) -> int:
        """Return the revision of one more change, within work with `is_change`."""
        self._revision += 1
        return self._revision

    def _change(self, works: list[DiskWork[Any]]) -> list[object]:
        try:
            connection = self.open_connection()
            self._settle()
        except Exception as error:
            return [error for _ in works]
        try:
            connection.execute("BEGIN IMMEDIATE")
            before = self._revision = self._content.begin(connection)
            outcomes = [self._do(work) for work in works]
            if self._revision != before:
                self._content.finish(connection, self._revision)
        except BaseException as error:  # SQLite may have undone all of it
            self._undo(connection)
            if len(works) > 1:  # so each alone: it is the fault of one, as on a full disk
                return [outcome for work in works for outcome in self._change([work])]
            if not isinstance(error, sqlite3.Error):  # a bug in this one
                return [error]
            self._note_unwritten(error)
            return [self._refused(str(error))]
        if self._revision == before:
            self._undo(connection)
            return outcomes
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._note_unwritten(error)
            if is_unwritten(error):  # the last bytes of a commit are written only after all others
                self._undo(connection)
                failed: CallError = self._refused(str(error))
            else:
                self._content.unknown()
                self._disconnect()
                self._open_again()
                failed = OutcomeUnknown(
                    f"the {self._noun} could not finish writing ({error}): read {self._content.reread} to see whether "
                    "it was changed"
                )
            return [one if isinstance(one, Exception) else failed for one in outcomes]
        self._problem = ""
        self._say_revision(self._revision)
        return outcomes

    def _do(self, work: DiskWork[Any]) -> object:
        try:
            return work.run()
        except Exception as error:
            if self._content.is_of_caller(error):
                return error
            raise

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
        if not is_full(error):
            self._is_settled = False

    def _refused(self, why: str) -> Failed:
        return Failed(f"the {self._noun} cannot write ({why}): nothing was changed")

    def _undo(self, connection: sqlite3.Connection) -> None:
        self._content.undone()
        if connection.in_transaction:  # SQLite undoes some failures by itself
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def _disconnect(self) -> None:
        self._content.undone()
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection for a read. Raises Failed."""
        connection = self.open_connection()
        try:
            yield connection
            if self._is_settled:
                self._problem = ""
        except sqlite3.Error as error:
            if connection.in_transaction or self._content.is_of_caller(error):
                raise
            self._note(error)
            raise self._unserved(self._damage or str(error)) from None
