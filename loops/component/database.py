"""`database(steps=[...])`: tables of a component in SQLite, on the disk when they are acknowledged.

    class Notes(Component):
        db = database(steps=["create table notes (id integer primary key, text text not null)"])

        @handler
        async def add(self, text: str) -> int:
            return (await self.db.execute("insert into notes (text) values (?)", text)).last_id

It takes `state_mb: N` under `needs`, which is how large the file may become. All of it happens in a thread of its own,
so the event loop never waits for the disk; how changes come to the disk, and what a bad disk does to them, is in
loops/sqlite_file.py, which the store stands on too. A change that was acknowledged survives a crash. One that ended
with OutcomeUnknown may have happened: read what it changed.

Steps are run once each and in order, so a database of any older version becomes one of this version; they are never
changed or taken out, only added. A step is some SQL, or a function of a `Transaction`.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

from tlsrt.errors import ConfigError, MisuseError
from tlsrt.loops.component.statements import refuse_control, statements_of
from tlsrt.loops.disk_thread import DiskThread, DiskWork
from tlsrt.loops.sqlite_backup import write_backup
from tlsrt.loops.sqlite_connection import connect
from tlsrt.loops.sqlite_errors import is_of_disk
from tlsrt.loops.sqlite_file import SqliteFile

ROWS_MOST = 10_000  # of one read
FILE = "data.sqlite"
BACKUP = "data.backup.sqlite"
_VALUE_BYTES = 64  # of anything that is neither text nor bytes, without what lies in it
Result = TypeVar("Result")
Row = sqlite3.Row


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did: how many rows, the id of the last new one, and the rows of `returning`."""

    count: int
    last_id: int
    rows: list[Row]


class UndoneError(MisuseError):
    """A statement has ended the transaction, and with it the changes of others."""


class Transaction:
    """The database within one transaction, for a function that `transaction` or a step runs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *values: object, **named: object) -> Changed:
        """Run one statement. Raises sqlite3.Error, and MisuseError for one that would end the transaction."""
        refuse_control(statement)
        cursor = self._cursor()
        try:
            cursor.execute(statement, _parameters(values, named))
            rows = _fetch(cursor)
            return Changed(max(cursor.rowcount, 0), cursor.lastrowid or 0, rows)
        finally:
            cursor.close()  # one that has rows left keeps the transaction from its end

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run one statement for each of the rows; return how many rows it changed."""
        refuse_control(statement)
        return max(self._cursor().executemany(statement, rows).rowcount, 0)

    def read(self, statement: str, *values: object, **named: object) -> list[Row]:
        """Return the rows of a statement: each has its columns by number and by name."""
        return self.execute(statement, *values, **named).rows

    def _cursor(self) -> sqlite3.Cursor:
        cursor = self._connection.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor


Step = str | Callable[[Transaction], object]


class Database:
    """The database of one component. `subject` tells who calls now: each has a share of what waits for the disk."""

    def __init__(
        self, steps: Sequence[Step], subject: Callable[[], str] = lambda: "",
        connect: Callable[[Path], sqlite3.Connection] = connect, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._subject = subject
        self._tables = _Tables(steps)
        self._file = SqliteFile(self._tables, connect=connect, clock=clock)
        self._folder = Path()
        self.disk = DiskThread("database-disk", self._file)

    async def open(self, address: str, folder: Path, max_bytes: int) -> None:
        """Open it in the component's folder and run the steps that are new. Raises ConfigError; the runtime does it."""
        self._folder, self._tables.address = folder, address
        await self.disk.run("", DiskWork(partial(self._file.open, folder / FILE, max_bytes)))

    async def close(self) -> None:
        """Do what waits, and close the file; the runtime does it."""
        await self.disk.run_last(DiskWork(self._file.close))
        self.disk.close()

    async def read(self, statement: str, *values: object, **named: object) -> list[Row]:
        """Return the rows of a query: each has its columns by number and by name, `row["text"]`.

        Raises Busy, Failed if the disk refuses, MisuseError for more than 10,000 rows, and sqlite3.Error.
        """
        work = DiskWork(partial(self._read, statement, _parameters(values, named)))
        return await self.disk.run(self._subject(), work)

    async def execute(self, statement: str, *values: object, **named: object) -> Changed:
        """Run one statement that changes something; it is on the disk when this returns.

        Values stand for `?` in their order, or for `:name`. Raises as `read` does, and OutcomeUnknown.
        """
        return await self.transaction(Transaction.execute, statement, *values, **named)

    async def transaction(self, function: Callable[..., Result], *args: object, **kwargs: object) -> Result:
        """Run `function(transaction, *args)` in the database's thread, all of it or nothing, and return its result.

            left = await self.db.transaction(move, "a", "b", 5)  # calls move(transaction, "a", "b", 5)

        What it raises undoes its changes. It must not take long, as all else waits for it.
        """
        work = DiskWork(
            partial(self._change, function, args, kwargs), is_change=True, size=_size((*args, *kwargs.values()))
        )
        return await self.disk.run(self._subject(), work)

    async def query(self, function: Callable[..., Result], *args: object, **kwargs: object) -> Result:
        """Run `function(transaction, *args)` in the database's thread for reads alone, and return its result.

        All that it reads is of one moment, and the disk has nothing to write. Raises as `read` does.
        """
        return await self.disk.run(self._subject(), DiskWork(partial(self._query, function, args, kwargs)))

    async def backup(self) -> Path:
        """Write a copy of all that is acknowledged to `data.backup.sqlite` beside it; return its path.

        It is whole or not there: an older one is replaced in one step.
        """
        target = self._folder / BACKUP
        await self.disk.run("", DiskWork(partial(self._back_up, target)))
        return target

    async def check(self) -> str | None:
        """Return what is wrong with database and disk, or None: for the component's own `check`."""
        return await self.disk.run("", DiskWork(self._file.check))

    # -- in the thread ----------------------------------------------------------------------------------------

    def _read(self, statement: str, parameters: Sequence[object] | Mapping[str, object]) -> list[Row]:
        refuse_control(statement)
        with self._reading() as connection:
            cursor = connection.cursor()
            cursor.row_factory = sqlite3.Row
            connection.execute("PRAGMA query_only = 1")
            try:
                return _fetch(cursor.execute(statement, parameters))
            finally:
                cursor.close()
                connection.execute("PRAGMA query_only = 0")

    def _query(self, function: Callable[..., Result], args: Sequence[object], kwargs: Mapping[str, object]) -> Result:
        with self._reading() as connection:
            connection.execute("PRAGMA query_only = 1")
            try:
                return function(Transaction(connection), *args, **kwargs)
            finally:
                connection.execute("PRAGMA query_only = 0")

    def _reading(self) -> Any:
        self._file.open_connection()
        self._file.settle_if(self._tables.has_unknown or self._file.is_all_unknown, "the last changes have happened")
        return self._file.reading()

    def _back_up(self, target: Path) -> None:
        with self._reading() as connection:
            write_backup(connection, target)

    def _change(self, function: Callable[..., Result], args: Sequence[object], kwargs: Mapping[str, object]) -> Result:
        connection = self._file.open_connection()
        connection.execute("SAVEPOINT change")
        try:
            result = function(Transaction(connection), *args, **kwargs)
        except BaseException as error:
            if not (isinstance(error, sqlite3.Error) and is_of_disk(error)):  # else all of it has to be undone
                _expect_transaction(connection, f"{error}: ")
                connection.execute("ROLLBACK TO change")
                connection.execute("RELEASE change")
            raise
        _expect_transaction(connection, "")
        connection.execute("RELEASE change")
        self._file.next_revision()
        return result


class _Tables:
    """What is in the file: the component's own tables, and one row that counts changes."""

    noun, parts, reread = "database", "rows", "what it changed"

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self.address = ""
        self.has_unknown = False

    def prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(self._steps):
            raise ConfigError(
                f"cannot open the database of {self.address}: it has had {version} steps, and this version of the "
                f"component knows {len(self._steps)}; install a newer one, or restore a backup"
            )
        for number in range(version, len(self._steps)):
            self._step(connection, number)
        if version == 0 and not self._steps:
            self._count(connection)
        connection.execute("PRAGMA foreign_keys = ON")

    def _count(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS tlsrt_counter "
            "(only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL) STRICT"
        )
        connection.execute("INSERT OR IGNORE INTO tlsrt_counter VALUES (1, 0)")

    def _step(self, connection: sqlite3.Connection, number: int) -> None:
        step = self._steps[number]
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._count(connection)
            transaction = Transaction(connection)
            if isinstance(step, str):
                for statement in statements_of(step):
                    transaction.execute(statement)
            else:
                step(transaction)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not isinstance(error, Exception) or (isinstance(error, sqlite3.Error) and is_of_disk(error)):
                raise
            raise ConfigError(
                f"cannot open the database of {self.address}: step {number + 1} of {len(self._steps)} failed "
                f"({type(error).__name__}: {error}); nothing of it was kept"
            ) from error

    def look(self, connection: sqlite3.Connection, is_late: Callable[[], bool], mark: str) -> str:
        return ""  # the pages have been checked, and a row is the component's

    def revision(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT revision FROM tlsrt_counter").fetchone()[0])

    def set_revision(self, connection: sqlite3.Connection, revision: int) -> None:
        connection.execute("UPDATE tlsrt_counter SET revision = ?", (revision,))

    def begin(self, connection: sqlite3.Connection) -> int:
        return self.revision(connection)

    def finish(self, connection: sqlite3.Connection, revision: int) -> None:
        self.set_revision(connection, revision)

    def is_of_caller(self, error: Exception) -> bool:
        return not (isinstance(error, UndoneError) or (isinstance(error, sqlite3.Error) and is_of_disk(error)))

    def undone(self) -> None:
        """Nothing is remembered."""

    def unknown(self) -> None:
        self.has_unknown = True

    def settled(self) -> None:
        self.has_unknown = False

    def troubles(self) -> list[str]:
        return []


class DatabaseAttribute:
    """What `database` returns: `self.db` is the component's Database."""

    def __init__(self, steps: Sequence[Step]) -> None:
        if isinstance(steps, str) or not all(isinstance(step, str) or callable(step) for step in steps):
            raise MisuseError("steps of a database must be a list of SQL texts or functions of a Transaction")
        self.steps = tuple(steps)

    @overload
    def __get__(self, instance: None, owner: type) -> DatabaseAttribute: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Database: ...
    def __get__(self, instance: object | None, owner: type) -> DatabaseAttribute | Database:
        if instance is None:
            return self
        found: Database = instance._tlsrt_database  # type: ignore[attr-defined]  # of a Component
        return found

    def __set__(self, instance: object, value: object) -> None:
        raise MisuseError(f"{type(instance).__name__} cannot set its database: it is declared on the class")


def database(steps: Sequence[Step]) -> DatabaseAttribute:
    """Declare the database of a component, on its class: `db = database(steps=["create table ..."])`.

    Needs `state_mb: N`. There is one to a component; its files are `data.sqlite` and `data.mark` in `self.state`.
    """
    return DatabaseAttribute(steps)


def database_of(kind: type) -> DatabaseAttribute | None:
    """Return the database that a class declares, None if there is none. Raises MisuseError for two."""
    found: dict[str, DatabaseAttribute] = {}
    for base in reversed(kind.__mro__):
        for name, value in vars(base).items():
            found.pop(name, None)
            if isinstance(value, DatabaseAttribute):
                found[name] = value
    if len(found) > 1:
        raise MisuseError(f"{kind.__name__} declares {len(found)} databases: make them tables of one")
    return next(iter(found.values()), None)


def _expect_transaction(connection: sqlite3.Connection, why: str) -> None:
    """Raise UndoneError if a statement has ended it, as ON CONFLICT ROLLBACK of an older table does."""
    if not connection.in_transaction:
        raise UndoneError(f"{why}a statement has ended the transaction of the runtime; use ABORT instead of ROLLBACK")


def _parameters(values: Sequence[object], named: Mapping[str, object]) -> Sequence[object] | Mapping[str, object]:
    if values and named:
        raise MisuseError("values of a statement are given in their order or by their names, not both")
    return dict(named) if named else tuple(values)


def _fetch(cursor: sqlite3.Cursor) -> list[Row]:
    rows: list[Row] = cursor.fetchmany(ROWS_MOST + 1)
    if len(rows) > ROWS_MOST:
        raise MisuseError(f"more than {ROWS_MOST} rows: ask for some at a time, with LIMIT")
    return rows


def _size(values: Iterable[object]) -> int:
    """Return about how many bytes values hold, with all that lies in collections and dataclasses, each once."""
    total, left, seen = 0, [*values], set[int]()
    while left:
        value = left.pop()
        if isinstance(value, str | bytes | bytearray):
            total += len(value)
            continue
        total += _VALUE_BYTES
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            left += value
        elif is_dataclass(value) and not isinstance(value, type):
            left += [getattr(value, field.name) for field in fields(value)]
    return total
