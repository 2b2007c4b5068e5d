"""The database of a component: acknowledged is on the disk, steps go forward only, a bad disk is told."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tlsrt import Component, database, handler
from tlsrt.errors import ConfigError, Failed, MisuseError, OutcomeUnknown
from tlsrt.loops.component import statements
from tlsrt.loops.component.database import BACKUP, ROWS_MOST, Database, Step, Transaction, _size
from tlsrt.loops.component.statements import refuse_control, statements_of
from tlsrt.loops.disk_thread import DiskWork

STEPS = ["create table notes (id integer primary key, text text not null unique)"]
MIB = 1 << 20
Result = TypeVar("Result")


class Bench:
    """An open database and an event loop to use it in."""

    def __init__(self, folder: Path, steps: Sequence[Step] = STEPS, max_bytes: int = 8 * MIB, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.db = Database(steps, **options)
        try:
            self._runner.run(self.db.open("third/x", folder, max_bytes))
        except BaseException:
            self._runner.run(self.db.close())
            self._runner.close()
            raise

    def __call__(self, work: Awaitable[Result]) -> Result:
        async def wait() -> Result:
            return await work

        return self._runner.run(wait())

    def texts(self) -> list[str]:
        return [row["text"] for row in self(self.db.read("select text from notes order by id"))]

    def close(self) -> None:
        self(self.db.close())
        self._runner.close()


def test_rows_come_back_by_number_and_by_name_and_outlive_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = bench(bench.db.execute("insert into notes (text) values (?)", "a"))
    assert (first.count, first.last_id, first.rows) == (1, 1, [])
    named = bench(bench.db.execute("insert into notes (text) values (:text) returning id, text", text="b"))
    assert [tuple(row) for row in named.rows] == [(2, "b")] and named.rows[0]["id"] == 2
    assert bench(bench.db.execute("update notes set text = text || '!'")).count == 2
    bench.close()
    again = Bench(tmp_path)
    assert again.texts() == ["a!", "b!"] and again(again.db.check()) is None
    again.close()


def test_a_transaction_is_all_or_nothing_and_its_neighbours_are_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def add(transaction: Transaction, *texts: str) -> int:
        for text in texts:
            transaction.execute("insert into notes (text) values (?)", text)
        if "wrong" in texts:
            raise ValueError("wrong")
        return len(transaction.read("select * from notes"))

    async def together() -> list[Any]:
        texts = (["a"], ["b", "wrong"], ["c", "a"], ["d", "e"])
        return await asyncio.gather(*(bench.db.transaction(add, *each) for each in texts), return_exceptions=True)

    first, wrong, twice, last = bench(together())
    assert (first, last) == (1, 3) and isinstance(wrong, ValueError) and isinstance(twice, sqlite3.IntegrityError)
    assert bench.texts() == ["a", "d", "e"]
    bench.close()


@pytest.mark.parametrize(
    "statement",
    ["commit", " -- x\n ROLLBACK", "/* x */begin", "pragma synchronous = off", "attach 'x' as y", "vacuum into 'x'",
     "insert or rollback into notes values (1, 'a')", "savepoint x", "END", "release x", "detach y",
     ";COMMIT", "/**/; -- x\n;end", "\ufeffcommit", "insert or/**/rollback into notes values (1, 'a')",
     "create table x (a unique on conflict rollback)", "create table x (a unique on Conflict--\nrollback)"],
)  # fmt: skip
def test_what_is_the_runtimes_own_cannot_be_run(tmp_path: Path, statement: str) -> None:
    bench = Bench(tmp_path)
    for way in (bench.db.execute, bench.db.read):
        with pytest.raises(MisuseError, match="cannot run"):
            bench(way(statement))
    refuse_control("select 'commit' as begin_ from notes")
    bench.close()


def test_what_undoes_the_changes_of_others_all_the_same_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:  # a table of an older version
        before.setattr(statements, "_UNDOES_ALL", re.compile("(?!)"))
        bench = Bench(tmp_path, ["create table notes (id integer primary key, text text unique on conflict rollback)"])

    async def together() -> list[Any]:
        adding = (bench.db.execute("insert into notes (text) values (?)", text) for text in ("a", "a", "b"))
        return await asyncio.gather(*adding, return_exceptions=True)

    first, twice, last = bench(together())
    assert (first.last_id, last.last_id) == (1, 2) and isinstance(twice, MisuseError)
    assert "UNIQUE" in str(twice) and bench.texts() == ["a", "b"]
    bench.close()


def test_a_change_with_too_many_rows_is_refused_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    many = f"with recursive n(i) as (select 1 union all select i + 1 from n where i <= {ROWS_MOST})"

    async def together() -> list[Any]:
        texts = (f"{many} insert into notes (text) select i from n returning id", "insert into notes (text) values (0)")
        return await asyncio.gather(*map(bench.db.execute, texts), return_exceptions=True)

    refused, done = bench(together())
    assert isinstance(refused, MisuseError) and "with LIMIT" in str(refused) and done.count == 1
    assert bench.texts() == ["0"] and bench(bench.db.check()) is None
    bench.close()


def test_a_read_changes_nothing_and_is_bounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        bench(bench.db.read("insert into notes (text) values ('x') returning id"))
    many = f"with recursive n(i) as (select 1 union all select i + 1 from n where i <= {ROWS_MOST}) select i from n"
    with pytest.raises(MisuseError, match="with LIMIT"):
        bench(bench.db.read(many))
    assert bench(bench.db.read(f"{many} limit 2"))[1][0] == 2
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        bench(bench.db.read("select * from absent"))
    assert bench.texts() == [] and bench(bench.db.check()) is None, "a wrong statement is no fault of the disk"
    bench.close()


def test_steps_are_run_once_each_and_in_order(tmp_path: Path) -> None:
    Bench(tmp_path).close()

    def fill(transaction: Transaction) -> None:
        assert transaction.execute_many("insert into notes (text) values (?)", [("a",), ("b;",)]) == 2

    more = "alter table notes add column at integer; -- when\n update notes set at = 7 where text = 'b;'"
    steps: list[Step] = [*STEPS, fill, more]
    bench = Bench(tmp_path, steps)
    assert [tuple(row) for row in bench(bench.db.read("select text, at from notes"))] == [("a", None), ("b;", 7)]
    bench.close()
    again = Bench(tmp_path, steps)
    assert again.texts() == ["a", "b;"]
    again.close()


def test_a_step_that_fails_leaves_the_version_and_says_which_it_was(tmp_path: Path) -> None:
    Bench(tmp_path).close()
    wrong = "create table more (id integer); insert into absent values (1)"
    with pytest.raises(ConfigError, match=r"database of third/x: step 2 of 3 failed \(OperationalError: no such table"):
        Bench(tmp_path, [*STEPS, wrong, "create table last (id integer)"])
    bench = Bench(tmp_path, [*STEPS, "create table more (id integer)"])
    assert bench(bench.db.read("select name from sqlite_schema where name in ('more', 'last')"))[0][0] == "more"
    bench.close()


def test_a_newer_database_is_refused_in_one_sentence_and_left_as_it_is(tmp_path: Path) -> None:
    Bench(tmp_path, [*STEPS, "create table more (id integer)"]).close()
    with pytest.raises(ConfigError) as caught:
        Bench(tmp_path)
    assert "it has had 2 steps, and this version of the component knows 1; install a newer one" in str(caught.value)
    Bench(tmp_path, [*STEPS, "create table more (id integer)"]).close()


def test_it_becomes_no_larger_than_its_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=MIB // 2)

    async def fill() -> list[Any]:
        texts = [f"{number:01000}" for number in range(200)]
        adding = (bench.db.execute("insert into notes (text) values (?)", text) for text in texts)
        return await asyncio.gather(*adding, return_exceptions=True)

    refused = [one for one in bench(fill()) if isinstance(one, Exception)]
    sentence = "the database cannot write (database or disk is full): nothing was changed"
    assert {(type(one), str(one)) for one in refused} == {(Failed, sentence)}
    assert len(bench.texts()) == 200 - len(refused) > 50
    assert (tmp_path / "data.sqlite").stat().st_size <= MIB // 2
    bench(bench.db.execute("delete from notes where id < 40"))
    bench(bench.db.execute("insert into notes (text) values ('again')"))
    bench.close()


class FailingConnection(sqlite3.Connection):
    """Commits end with an error of the disk, before or after they have happened."""

    fate = ""

    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if statement == "COMMIT" and FailingConnection.fate:
            super().execute(FailingConnection.fate)
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, *rest)


@pytest.mark.parametrize("fate", ["COMMIT", "ROLLBACK"])
def test_a_commit_that_failed_may_have_happened_and_is_told_so(tmp_path: Path, fate: str) -> None:
    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FailingConnection)

    bench = Bench(tmp_path, connect=connect)
    FailingConnection.fate = fate
    try:
        with pytest.raises(OutcomeUnknown, match="read what it changed to see whether it was changed"):
            bench(bench.db.execute("insert into notes (text) values ('a')"))
    finally:
        FailingConnection.fate = ""
    assert bench.texts() == (["a"] if fate == "COMMIT" else [])
    bench(bench.db.execute("insert into notes (text) values ('b')"))
    bench.close()


def test_a_backup_is_one_file_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench(bench.db.execute("insert into notes (text) values ('a')"))
    assert bench(bench.db.backup()) == tmp_path / BACKUP
    bench(bench.db.execute("insert into notes (text) values ('b')"))
    bench.close()
    assert not [path for path in tmp_path.iterdir() if "part" in path.name]
    for name in ("data.sqlite", "data.sqlite-wal", "data.mark"):  # as the guide says
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / BACKUP).rename(tmp_path / "data.sqlite")
    again = Bench(tmp_path)
    assert again.texts() == ["a"] and again(again.db.check()) is None
    again.close()


@pytest.mark.parametrize("kind", ["half", "garbage", "empty", "missing", "page", "older"])
def test_a_damaged_file_is_told_and_not_served(tmp_path: Path, kind: str) -> None:
    bench, file = Bench(tmp_path), tmp_path / "data.sqlite"
    old = file.read_bytes()
    for number in range(50):
        bench(bench.db.execute("insert into notes (text) values (?)", f"{number:0500}"))
    bench.close()
    data = file.read_bytes()
    if kind == "missing":
        file.unlink()
    else:
        page = data[:8192] + bytes(4096) + data[12288:]
        file.write_bytes(
            {"half": data[: len(data) // 2], "garbage": b"x" * len(data), "empty": b"", "page": page, "older": old}[
                kind
            ]
        )
    bench = Bench(tmp_path)
    if kind == "older":
        assert "changes that were acknowledged are lost, of revision 1 to 50" in str(bench(bench.db.check()))
    else:
        with pytest.raises(Failed, match="cannot serve the database: "):
            bench.texts()
        with pytest.raises(Failed, match="backup"):
            bench(bench.db.execute("insert into notes (text) values ('a')"))
        assert "backup" in str(bench(bench.db.check()))
    bench.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from tlsrt.loops.component.database import Database
async def main():
    db = Database(["create table notes (id integer primary key, text text not null)"])
    await db.open("third/x", Path(sys.argv[1]), 64 << 20)
    last = (await db.read("select count(*) from notes"))[0][0]
    async def add(number):
        await db.execute("insert into notes values (?, ?)", number, "x" * 300)
        print(number, flush=True)
    while True:
        await asyncio.gather(*(add(last + ahead) for ahead in range(5)))
        last += 5
asyncio.run(main())
"""


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    for wanted in (13, 57, 101):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(wanted)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        acknowledged = {int(line) for line in lines if line.endswith(b"\n")}
        log = tmp_path / "data.sqlite-wal"
        with log.open("ab") as file:  # a write that was cut off
            file.write(b"\x01" * 2000)
        bench = Bench(tmp_path, ["create table notes (id integer primary key, text text not null)"])
        there = {row[0] for row in bench(bench.db.read("select id from notes"))}
        assert acknowledged <= there and bench(bench.db.check()) is None
        assert there == set(range(len(there))), "in their order, without a gap"
        rows = set(range(len(there) // 5 * 5, len(there)))  # what was cut off in the middle of five
        for number in rows:
            bench(bench.db.execute("delete from notes where id = ?", number))
        bench.close()


def test_the_event_loop_goes_on_while_the_disk_does_not(tmp_path: Path) -> None:
    import threading

    async def scene() -> None:
        db, go = Database(STEPS), threading.Event()
        await db.open("third/x", tmp_path, MIB)
        stuck = asyncio.create_task(db.disk.run("", DiskWork(lambda: go.wait(30))))
        added = asyncio.create_task(db.execute("insert into notes (text) values ('a')"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not added.done()
        go.set()
        await stuck
        assert (await added).last_id == 1
        await db.close()

    asyncio.run(scene())


def test_a_class_declares_one_and_nothing_takes_its_place() -> None:
    class Notes(Component):
        db = database(steps=STEPS)

        @handler
        async def add(self, text: str) -> int:
            return (await self.db.execute("insert into notes (text) values (?)", text)).last_id

    class Later(Notes):
        db = database(steps=[*STEPS, "create table more (id integer)"])

    assert isinstance(Notes().db, Database) and Later().db is not Notes().db
    with pytest.raises(MisuseError, match="declares 2 databases"):
        type("Two", (Notes,), {"other": database(steps=[])})
    with pytest.raises(MisuseError, match="must be a list of SQL"):
        database(steps="create table x")
    with pytest.raises(MisuseError, match="cannot set its database"):
        Notes().db = 1


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), (" -- nothing\n", 0), ("select 1", 1), ("select 1; select ';' ;", 2), ("select 1;\n-- end\n", 1),
     ("create trigger t after insert on a begin select 1; select 2; end; select 3", 2)],
)  # fmt: skip
def test_a_text_is_taken_apart_where_its_statements_end(text: str, count: int) -> None:
    found = list(statements_of(text))
    assert len(found) == count and "".join(found) == text[: len("".join(found))]


def test_a_query_reads_one_moment_and_changes_nothing(tmp_path: Path) -> None:
    def look(transaction: Transaction, most: int) -> list[str]:
        return [row["text"] for row in transaction.read("select text from notes order by id limit ?", most)]

    def change(transaction: Transaction) -> None:
        transaction.execute("insert into notes (text) values ('b')")

    bench = Bench(tmp_path)
    bench(bench.db.execute("insert into notes (text) values ('a')"))
    assert bench(bench.db.query(look, 5)) == ["a"]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        bench(bench.db.query(change))
    assert bench(bench.db.check()) is None
    bench(bench.db.transaction(change))
    assert bench.texts() == ["a", "b"]
    bench.close()


def test_what_lies_in_an_object_counts_for_the_room_of_what_waits() -> None:
    @dataclass
    class Note:
        text: str
        tags: list[str]

    note = Note("x" * 10_000, ["y" * 5_000] * 2)
    assert 20_000 < _size([note]) < 21_000
    assert _size([{"a": "x" * 300}, ("b" * 200,)]) > 500
    endless: list[object] = ["x" * 100]
    endless.append(endless)
    assert 100 < _size([endless]) < 500
    assert _size([note, note]) - _size([note]) < 100  # once: it is there once
