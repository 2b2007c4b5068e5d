"""The store on a disk that lies: flipped bits, lost pages, lost files, a cut log, commits that fail."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from fakes.store_bench import ClockedStore, StoreBench

from tlsrt import SqliteFile
from tlsrt.errors import Failed, NotFound, OutcomeUnknown
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.secondary.schema import FORMAT
from tlsrt.loops.secondary.sqlite_table import SqliteTable
from tlsrt.loops.sqlite_mark import MarkRecord, SqliteMark, parse_mark_untrusted

CALLS: tuple[tuple[Any, ...], ...] = (("get", "k1"), ("entry", "k1"), ("put", "k1", 1), ("delete", "k1"), ("keys",))


def value_of(number: int) -> str:
    return f"value {number} " * 8


def filled(folder: Path, count: int) -> None:
    """Leave a closed store of so many values."""
    bench = StoreBench(folder)
    for number in range(count):
        bench("put", f"k{number}", value_of(number))
    bench.stop()


def raw(folder: Path, *statements: str) -> list[Any]:
    """Change a closed store behind its back; return the rows of the last statement."""
    connection = sqlite3.connect(folder / "store.sqlite", isolation_level=None)
    rows = [connection.execute(statement).fetchall() for statement in statements][-1]
    connection.close()
    return rows


def test_a_value_with_a_flipped_bit_is_named_and_never_served(tmp_path: Path) -> None:
    filled(tmp_path, 5)
    raw(tmp_path, "UPDATE entries SET value = X'a178' WHERE key = 'k2'")
    bench = StoreBench(tmp_path)
    assert "damaged values, which are not served: 'k2'" in str(bench.healthy())
    for call in (("get", "k2"), ("entry", "k2"), ("put", "k2", 1, None, 3), ("delete", "k2", 3)):
        with pytest.raises(Failed, match="the value under 'k2' is damaged on the disk"):
            bench(*call)
    assert bench("get", "k3") == value_of(3)
    assert bench("keys") == [f"k{number}" for number in range(5)]
    bench("put", "k2", "mended")
    assert bench("get", "k2") == "mended" and bench.healthy() is None
    bench.stop()


@pytest.mark.parametrize("seed", range(8))
def test_of_flipped_bits_anywhere_none_is_served_and_none_is_silent(tmp_path: Path, seed: int) -> None:
    """Ten bits of the pages of values and keys, as a disk flips them."""
    filled(tmp_path, 300)
    file = tmp_path / "store.sqlite"
    data, chance = bytearray(file.read_bytes()), random.Random(seed)
    for _ in range(10):
        data[chance.randrange(4096, len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    bench = StoreBench(tmp_path)
    refused = 0
    for number in range(300):
        try:
            assert bench("get", f"k{number}") == value_of(number)
        except Failed:
            refused += 1
    assert bool(refused) is (bench.healthy() is not None), (refused, bench.healthy())
    bench.stop()


@pytest.mark.parametrize("page", [0, 1])
def test_a_page_of_zeros_is_no_empty_store(tmp_path: Path, page: int) -> None:
    filled(tmp_path, 50)
    with open(tmp_path / "store.sqlite", "r+b") as file:
        file.seek(page * 4096)
        file.write(bytes(4096))
    bench = StoreBench(tmp_path)
    assert "restore store.sqlite from a backup" in str(bench.healthy())
    for call in CALLS:
        with pytest.raises(Failed, match="cannot serve the store: "):
            bench(*call)
    bench.stop()


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("has_log", [True, False])
def test_a_lost_file_is_no_empty_store_and_its_log_stays(tmp_path: Path, is_empty: bool, has_log: bool) -> None:
    filled(tmp_path, 50)
    file, log = tmp_path / "store.sqlite", tmp_path / "store.sqlite-wal"
    if has_log:
        log.write_bytes(b"what was not in the database yet")
    file.unlink()
    if is_empty:
        file.touch()
    for _ in range(2):  # it does not mend by itself
        bench = StoreBench(tmp_path)
        state = "empty" if is_empty else "missing"
        assert f"store.sqlite is {state}, but it had revision 50; put it back from a backup" in str(bench.healthy())
        for call in CALLS:
            with pytest.raises(Failed, match=r"cannot serve the store: store\.sqlite is "):
                bench(*call)
        bench.stop()
    assert log.exists() is has_log
    for old in (tmp_path / "store.mark", *([log] if has_log else [])):  # as the sentence says
        old.rename(old.with_suffix(".old"))
    bench = StoreBench(tmp_path)
    assert bench("put", "k1", 1) == {"revision": 1} and bench.healthy() is None
    bench.stop()


def test_entries_that_the_disk_lost_are_missed(tmp_path: Path) -> None:
    filled(tmp_path, 20)
    raw(tmp_path, "DELETE FROM entries WHERE key = 'k7'")
    bench = StoreBench(tmp_path)
    with pytest.raises(Failed, match=r"entries of store\.sqlite are missing or older than they were"):
        bench("get", "k7")
    bench.stop()
    (tmp_path / "store.mark").unlink()
    bench = StoreBench(tmp_path)
    assert bench.healthy() is None
    with pytest.raises(NotFound):
        bench("get", "k7")
    bench("put", "k7", 1)
    bench.stop()
    bench = StoreBench(tmp_path)
    assert bench.healthy() is None and bench("get", "k7") == 1
    bench.stop()


KILLED = """
import asyncio, logging, os, signal, sys
from functools import partial
from pathlib import Path
from tlsrt.loops.component.component import attach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.secondary.store import Store

async def main():
    store = Store()
    attach(store, address="s/s", options={}, state=Path(sys.argv[1]), log=logging.getLogger(), port=None)
    await store.start()
    for number in range(50):
        await invoke(store, "put", [f"k{number}", "x" * 100], {}, subject="c/a")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("damage", ["cut", "bit", "gone"])
def test_a_log_that_lost_acknowledged_changes_is_noticed_after_a_crash(tmp_path: Path, damage: str) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL
    log = tmp_path / "store.sqlite-wal"
    data = bytearray(log.read_bytes())
    if damage == "gone":
        log.unlink()
    else:
        data[len(data) // 2] ^= 1
        log.write_bytes(data if damage == "bit" else data[: len(data) // 2])
    damaged = log.read_bytes() if log.exists() else None
    for _ in range(2):  # until an operator has accepted it
        bench = StoreBench(tmp_path)
        found = str(bench.healthy())
        assert "changes that were acknowledged are lost, of revision " in found and " to 50; restore" in found
        bench.stop()
    kept = tmp_path / "store.sqlite-wal.kept"
    assert damaged is None or kept.read_bytes() == damaged
    bench = StoreBench(tmp_path)
    assert bench("put", "new", 1) == {"revision": 52}, "no revision is given twice, and one is left out for who watches"
    bench.stop()
    (tmp_path / "store.mark").unlink()
    bench = StoreBench(tmp_path)
    assert bench.healthy() is None and bench("get", "new") == 1
    bench.stop()


def test_a_crash_alone_loses_nothing_and_says_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60, check=False)
    bench = StoreBench(tmp_path)
    assert bench.healthy() is None and len(bench("keys")) == 50
    assert not (tmp_path / "store.sqlite-wal.kept").exists()
    bench.stop()


def test_no_index_of_the_log_lies_in_a_mapped_file(tmp_path: Path) -> None:
    """A file system that loses its pages after a failed write loses what was acknowledged: sqlite.org/wal.html."""
    bench = StoreBench(tmp_path)
    bench("put", "a", 1)
    assert "store.sqlite-shm" not in os.listdir(tmp_path)
    bench.stop()


OLD_SCHEMA = (
    "CREATE TABLE entries (namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, revision INTEGER NOT NULL,"
    " expires_ms INTEGER, UNIQUE (namespace, key)) STRICT",
    "CREATE INDEX entries_expiry ON entries (expires_ms) WHERE expires_ms IS NOT NULL",
    "CREATE TABLE counter (only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL) STRICT",
)


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_a_store_of_the_format_before_comes_along_whole(tmp_path: Path, is_interrupted: bool) -> None:
    raw(tmp_path, "PRAGMA journal_mode = WAL", *OLD_SCHEMA, "INSERT INTO counter VALUES (1, 1300)")
    rows = ", ".join(f"('', 'k{number}', X'{number % 128:02x}', {number}, NULL)" for number in range(1, 1301))
    raw(tmp_path, f"INSERT INTO entries VALUES {rows}", "PRAGMA user_version = 1")
    if is_interrupted:
        raw(
            tmp_path,
            "ALTER TABLE entries ADD COLUMN checksum BLOB",
            "ALTER TABLE counter ADD COLUMN identities BLOB",
            "PRAGMA user_version = 2",
        )
    bench = StoreBench(tmp_path)
    assert bench.healthy() is None
    assert [bench("entry", f"k{number}")["value"] for number in (1, 500, 501, 1300)] == [1, 116, 117, 20]
    assert bench("put", "k1", "new") == {"revision": 1301}
    bench.stop()
    assert raw(tmp_path, "PRAGMA user_version") == [(FORMAT,)]
    assert raw(tmp_path, "SELECT count(*) FROM entries WHERE checksum IS NULL") == [(0,)]
    raw(tmp_path, "UPDATE entries SET checksum = NULL WHERE key = 'k9'")
    bench = StoreBench(tmp_path)
    with pytest.raises(Failed, match="'k9' is damaged"):
        bench("get", "k9")
    bench.stop()


class FailingConnection(sqlite3.Connection):
    """Commits fail as `fate` says, once for each letter: l(ate: it is on the disk), e(arly: it is not), or not.

    A disk that `refuses` settles nothing.
    """

    fate: list[str] = []  # noqa: RUF012
    refuses = False

    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if self.refuses and "wal_checkpoint" in statement:
            raise sqlite3.OperationalError("disk I/O error")
        word = self.fate.pop(0) if statement == "COMMIT" and self.fate else "."
        if word == "e":
            super().execute("ROLLBACK")
        if word in "el":
            if word == "l":
                super().execute(statement)
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, *rest)


class FailingStore(ClockedStore):
    """A store on a disk whose syncs fail."""

    def make_table(self) -> SqliteTable:
        def connect(path: Path) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FailingConnection)

        return SqliteTable(partial(SqliteFile, connect=connect))


@pytest.mark.parametrize("word", ["l", "e"])
def test_a_commit_that_failed_may_have_happened_and_is_told_so(tmp_path: Path, word: str) -> None:
    bench = StoreBench(tmp_path, FailingStore())
    bench("put", "a", 1)
    assert bench("get", "a") == 1, "it is remembered now"
    for call in (("put", "a", 2), ("put", "b", 2), ("delete", "a")):
        FailingConnection.fate = [word]
        with pytest.raises(OutcomeUnknown, match="read the key to see whether it was changed"):
            bench(*call)
        if call[:2] == ("put", "a"):
            assert bench("get", "a") == (2 if word == "l" else 1), "what was remembered is no answer any more"
    before = bench("put", "c", 3)["revision"]
    bench.stop()
    bench = StoreBench(tmp_path)
    assert bench("keys") == (["b", "c"] if word == "l" else ["a", "c"])
    assert bench("entry", "c") == {"value": 3, "revision": before, "expires_in_s": None}
    assert bench.healthy() is None
    bench.stop()


def test_what_is_not_known_is_not_served_by_a_process_that_comes_after_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = StoreBench(tmp_path, FailingStore())
    bench("put", "a", 1)
    bench("put", "b", 1)
    monkeypatch.setattr(FailingConnection, "refuses", True)
    FailingConnection.fate = ["l"]
    with pytest.raises(OutcomeUnknown):
        bench("put", "b", 2)
    unknown = "changed is not known until the disk answers again"
    for call in (("get", "b"), ("keys",), ("keys", "b"), ("keys", "", "a")):
        with pytest.raises(Failed, match=unknown):
            bench(*call)
    assert bench("get", "a") == 1 and bench("keys", "a") == ["a"] and bench("keys", "", "b") == [], "these are known"
    for _ in range(2):
        bench.stop()
        bench = StoreBench(tmp_path, FailingStore())
        for call in (("get", "a"), ("get", "b"), ("keys",), ("keys", "c")):
            with pytest.raises(Failed, match=unknown):
                bench(*call)
        assert "values can be neither read nor changed: the disk refuses" in str(bench.healthy())
    monkeypatch.setattr(FailingConnection, "refuses", False)
    assert bench("keys") == ["a", "b"] and bench("get", "b") == 2 and bench("get", "a") == 1
    assert bench.healthy() is None
    monkeypatch.setattr(FailingConnection, "refuses", True)
    bench.stop()
    bench = StoreBench(tmp_path, FailingStore())
    assert bench("get", "b") == 2 and bench("keys") == ["a", "b"], "it was settled"
    bench.stop()


def test_no_acknowledged_put_is_lost_when_commits_fail_at_random(tmp_path: Path) -> None:
    chance = random.Random(5)
    bench = StoreBench(tmp_path, FailingStore())
    acknowledged: dict[str, int] = {}
    revisions: list[int] = []
    unknown = 0
    for number in range(400):
        key = f"k{number % 40}"
        FailingConnection.fate = [chance.choice("el........")]
        try:
            revisions.append(bench("put", key, number)["revision"])
        except OutcomeUnknown:
            unknown += 1
            acknowledged.pop(key, None)
        else:
            acknowledged[key] = number
    FailingConnection.fate = []
    assert unknown > 20 and len(set(revisions)) == len(revisions)
    bench.stop()
    bench = StoreBench(tmp_path)
    assert {key: bench("get", key) for key in acknowledged} == acknowledged
    bench.stop()


def test_marks_are_read_back_or_are_damaged() -> None:
    for record in (MarkRecord(0), MarkRecord(2**63, (5, 77))):
        line = record.line()
        assert parse_mark_untrusted(line) == record and len(line) == 128
        for place in range(60):
            assert parse_mark_untrusted(line[:place] + b"~" + line[place + 1 :]) != record
        assert parse_mark_untrusted(line[:-1]) is None
    assert parse_mark_untrusted(b"") is None and parse_mark_untrusted(bytes(128)) is None


@pytest.mark.parametrize("refused", ["pwrite", "fdatasync"])
def test_a_mark_that_could_not_be_written_is_told_of_until_it_is_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    store = MarkedStore()
    bench = StoreBench(tmp_path, store)
    bench("put", "a", 1)
    written: list[str] = []

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, refused, refuse)
        store.mark_clock.now += 10
        assert bench("put", "a", 2) == {"revision": 2}, "the change itself is on the disk"
        for _ in range(2):
            assert bench("get", "a") == 2
            assert bench.healthy() == "store.mark cannot be written (Input/output error)"
    write = os.pwrite

    def note(*arguments: Any) -> int:
        written.append("written")
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", note)
    assert bench.healthy() is None, "it is said without anything to write"
    assert written, "a sync alone would say that a page is on the disk which the kernel has given up"
    assert SqliteMark(tmp_path / "store.mark").record == MarkRecord(2)
    bench.stop()


class MarkClock:
    """The monotonic clock that says when the mark is due."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class MarkedStore(ClockedStore):
    """A store whose mark is due when the test says so."""

    def make_table(self) -> SqliteTable:
        self.mark_clock = MarkClock()
        return SqliteTable(partial(SqliteFile, clock=self.mark_clock))


class SlowConnection(sqlite3.Connection):
    """Commits wait until they may go on."""

    begun = threading.Event()
    may_go_on = threading.Event()

    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self.begun.set()
            assert self.may_go_on.wait(30)
        return super().execute(statement, *rest)


class SlowStore(ClockedStore):
    """A store on a disk that answers when the test says so."""

    def make_table(self) -> SqliteTable:
        def connect(path: Path) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=SlowConnection)

        return SqliteTable(partial(SqliteFile, connect=connect))


def test_a_slow_disk_holds_up_neither_the_event_loop_nor_what_needs_no_disk(tmp_path: Path) -> None:
    SlowConnection.may_go_on.set()
    bench = StoreBench(tmp_path, SlowStore())
    bench("put", "a", 1)

    async def call(method: str, *args: object) -> Any:
        return await cast("Awaitable[object]", invoke(bench.store, method, args, {}, subject="client/a"))

    async def scene() -> None:
        SlowConnection.begun.clear()
        SlowConnection.may_go_on.clear()
        puts = [asyncio.create_task(call("put", "b", 2)) for _ in range(20)]
        await asyncio.to_thread(SlowConnection.begun.wait, 10)
        assert await call("get", "a") == 1 and (await call("describe"))["methods"]
        assert bench.store.disk_threads[0].waits_s() > 0
        assert await bench.store.healthy() is None, "a disk that is slow is no fault of the store"
        reading = asyncio.create_task(call("get", "b"))
        await asyncio.sleep(0)
        assert not reading.done() and not any(put.done() for put in puts), "nothing is acknowledged before it is there"
        SlowConnection.may_go_on.set()
        assert sorted(found["revision"] for found in await asyncio.gather(*puts)) == list(range(2, 22))
        assert await reading == 2 and bench.store.disk_threads[0].waits_s() < 1

    try:
        bench.run(scene())
    finally:
        SlowConnection.may_go_on.set()
        bench.stop()


def test_the_mark_is_synced_behind_the_answers_and_the_seldomer_the_slower_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    syncs: list[float] = []

    def clock() -> float:
        return now

    def slow(descriptor: int) -> None:
        nonlocal now
        syncs.append(now)
        now += 2.5

    monkeypatch.setattr(os, "fdatasync", slow)
    mark = SqliteMark(tmp_path / "store.mark")
    mark.write(MarkRecord(1), now)
    assert len(syncs) == 1, "that there is a store is known at once"
    for revision in range(2, 302):
        now += 1.0
        mark.write(MarkRecord(revision), now)
        assert len(syncs) == 1 or syncs[-1] < now - 1, "no answer waits for it"
        if mark.is_due(now):
            mark.sync_timed(clock)
    gaps = [later - earlier for earlier, later in itertools.pairwise(syncs)]
    assert gaps[0] < 10 and all(50 <= gap < 55 for gap in gaps[1:]) and len(gaps) >= 5
    assert SqliteMark(tmp_path / "store.mark").record == MarkRecord(301)
