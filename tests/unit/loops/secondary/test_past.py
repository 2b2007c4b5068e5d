"""The store's past: watching from a revision without a gap, expiry as a change, former values, bounds, older files."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from fakes.store_bench import ClockedStore
from fakes.store_bench import StoreBench as Bench

from tlsrt.errors import CallError, Failed, InvalidArgument, NotFound
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.secondary.past import Past
from tlsrt.loops.secondary.schema import FORMAT, SCHEMA, add_identity, checksum, identity
from tlsrt.loops.secondary.sqlite_table import SqliteTable


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.stop()


def watched(bench: Bench, count: int, *args: object, subject: str = "client/a", since: int) -> list[Any]:
    """The first items of a watch."""
    kwargs = {"since": since}

    async def scene() -> list[Any]:
        stream = cast("AsyncIterator[Any]", invoke(bench.store, "watch", args, kwargs, subject=subject))
        return [await asyncio.wait_for(anext(stream), 10) for _ in range(count)]

    return bench.run(scene())


def raw(folder: Path, *statements: str) -> list[Any]:
    connection = sqlite3.connect(folder / "store.sqlite", isolation_level=None)
    rows = [row for statement in statements for row in connection.execute(statement)]
    connection.close()
    return rows


def code_of(bench: Bench, method: str, *args: object) -> str:
    with pytest.raises(CallError) as caught:
        bench(method, *args)
    return caught.value.code


def conflict(bench: Bench, since: int) -> str:
    with pytest.raises(CallError) as caught:
        watched(bench, 1, since=since)
    assert caught.value.code == "conflict"
    return str(caught.value)


def test_a_watch_goes_on_behind_a_revision_over_a_restart(bench: Bench, tmp_path: Path) -> None:
    assert bench("position") == {"revision": 0, "since": 0}
    bench("put", "a/1", 1)
    bench("put", "b", 1)
    bench("delete", "a/1")
    bench.stop()
    again = Bench(tmp_path)
    again("put", "a/2", 1)
    assert watched(again, 3, "a/", since=0) == [
        {"operation": "put", "key": "a/1", "revision": 1},
        {"operation": "delete", "key": "a/1", "revision": 3},
        {"operation": "put", "key": "a/2", "revision": 4},
    ]
    assert again("position") == {"revision": 4, "since": 0}
    with pytest.raises(InvalidArgument, match="since: 5 is not yet there, the store is at revision 4"):
        watched(again, 1, since=5)
    again.stop()


@pytest.mark.parametrize("seed", range(3))
def test_no_change_is_missing_or_told_twice_while_others_write(bench: Bench, seed: int) -> None:
    """Watchers that begin anywhere, while writers go on, get each change behind their revision once, in order."""
    chance = random.Random(seed)

    async def write(subject: str) -> None:
        for number in range(250):
            key = f"k{chance.randrange(9)}"
            method, args = ("delete", [key]) if chance.random() < 0.3 else ("put", [key, number])
            try:
                await cast("Any", invoke(bench.store, method, args, {}, subject=subject))
            except NotFound:
                pass

    async def follow(since: int) -> list[int]:
        found: list[int] = []
        stream = cast("AsyncIterator[Any]", invoke(bench.store, "watch", [], {"since": since}, subject="c/w"))
        async for change in stream:
            found.append(change["revision"])
            if change["key"] == "end":
                break
            if chance.random() < 0.1:
                await asyncio.sleep(0)
        return found

    async def scene() -> None:
        writers = [asyncio.ensure_future(write(f"client/{number}")) for number in range(3)]
        watchers = []
        while not all(writer.done() for writer in writers):
            position = await cast("Any", invoke(bench.store, "position", [], {}, subject="c/w"))
            since = chance.randint(0, position["revision"])
            watchers.append((since, asyncio.ensure_future(follow(since))))
            await asyncio.wait(writers, timeout=0.05)
        end = await cast("Any", invoke(bench.store, "put", ["end", 1], {}, subject="c/w"))
        for since, watcher in watchers:
            found = await asyncio.wait_for(watcher, 30)
            assert found == list(range(since + 1, end["revision"] + 1))

    bench.run(scene())


def test_expiry_is_a_change(bench: Bench) -> None:
    bench("put", "a", 1, ttl_s=10)
    bench("put", "b", 1, ttl_s=20)
    bench.run(bench.store.expire_values())
    assert bench("position")["revision"] == 2, "nothing has expired"
    bench.store.now_ms += 10_000
    bench.run(bench.store.expire_values())
    assert watched(bench, 1, since=2) == [{"operation": "expire", "key": "a", "revision": 3}]
    bench("put", "c", 1, ttl_s=1)
    bench.store.now_ms += 10_000
    bench.run(bench.store.expire_values())
    assert [each["key"] for each in watched(bench, 2, since=4)] == ["c", "b"], "in the order of their expiry"


def test_expiry_is_told_to_who_watches_and_costs_no_read_while_nothing_expires(bench: Bench) -> None:
    bench("put", "a", 1, ttl_s=10)
    bench.run(bench.store.expire_values())

    async def scene() -> Any:
        stream = cast("AsyncIterator[Any]", invoke(bench.store, "watch", [], {}, subject="client/a"))
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        bench.store.now_ms += 10_000
        await bench.store.expire_values()
        return await asyncio.wait_for(waiting, 10)

    assert bench.run(scene()) == {"operation": "expire", "key": "a", "revision": 2}
    for number in range(200):
        bench("put", f"k{number}", 1, ttl_s=5)
    bench.store.now_ms += 5_000
    bench.run(bench.store.expire_values())
    assert bench("position")["revision"] == 2 + 200 + 200, "more than one piece of work takes"
    bench.store._disk = cast("Any", None)
    try:
        bench.run(bench.store.expire_values())
    finally:
        bench.store._disk = bench.store.disk_threads[0]


def test_values_that_were_replaced_are_kept(bench: Bench) -> None:
    for number in range(14):
        bench("put", "a", f"v{number}")
        bench.store.now_ms += 1000
    history = bench("history", "a")
    assert [each["revision"] for each in history] == list(range(14, 3, -1)), "the present one and ten more"
    assert history[0] == {"revision": 14, "bytes": 4, "put_at": 1013.0}
    assert history[-1] == {"revision": 4, "bytes": 3, "put_at": 1003.0}
    assert bench("history", "a", limit=1) == history[:1]
    assert [bench("version", "a", revision) for revision in (14, 13, 4)] == ["v13", "v12", "v3"]
    for key, revision in (("a", 3), ("a", 99), ("b", 4)):
        assert code_of(bench, "version", key, revision) == "not_found"
    assert code_of(bench, "history", "b") == "not_found"


def test_what_is_deleted_or_expires_leaves_no_value(bench: Bench, tmp_path: Path) -> None:
    bench("put", "a", "first")
    bench("put", "a", "second")
    bench("delete", "a")
    bench("put", "b", "first")
    bench("put", "b", "secret", ttl_s=5)
    bench("put", "c", "secret", ttl_s=5)
    bench("put", "c", "plain")
    assert code_of(bench, "version", "a", 1) == "not_found"
    assert bench("version", "b", 4) == "first"
    assert code_of(bench, "version", "c", 6) == "not_found", "what was to expire is not kept for longer"
    bench.store.now_ms += 5_000
    assert code_of(bench, "version", "b", 4) == "not_found" == code_of(bench, "history", "b")
    bench("put", "b", "new")  # before it was found to be expired
    assert code_of(bench, "version", "b", 4) == "not_found"
    bench.stop()
    assert raw(tmp_path, "SELECT count(*) FROM versions") == [(0,)]


def test_subjects_have_pasts_of_their_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, namespace="per_subject")
    bench("put", "a", "mine", subject="client/a")
    bench("put", "a", "mine too", subject="client/a")
    bench("put", "a", "hers", subject="client/b")
    assert [each["revision"] for each in watched(bench, 1, since=0, subject="client/b")] == [3]
    with pytest.raises(NotFound):
        bench("version", "a", 1, subject="client/b")
    assert bench("version", "a", 1, subject="client/a") == "mine"
    bench.stop()


def test_the_past_is_bounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, changes=100, versions=1000, versions_bytes=2000)
    for number in range(400):
        bench("put", f"k{number % 3}", b"x" * 98)
    first = bench("position")["since"]
    assert 400 - 164 <= first <= 300
    assert "changes up to revision" in conflict(bench, first - 1) and "watch since 400" in conflict(bench, 1)
    assert [each["revision"] for each in watched(bench, 400 - first, since=first)] == list(range(first + 1, 401))
    bench.stop()
    ((count, size),) = raw(tmp_path, "SELECT count(*), sum(length(value)) FROM versions")
    assert 5 <= count <= 20 and size <= 2000
    assert raw(tmp_path, "SELECT bytes FROM past") == [(size,)]
    bench = Bench(tmp_path, changes=0, versions=0)
    bench("put", "k1", 1)
    assert bench("position") == {"revision": 401, "since": 401}
    assert len(bench("history", "k2")) == 1, "0 drops what was kept before"
    bench.stop()


def filled(bench: Bench) -> int:
    """How many values fit."""
    for number in range(200):
        try:
            bench("put", f"k{number}", b"x" * 5_000)
        except Failed:
            return number
    raise AssertionError("never full")


def test_the_past_gives_way_to_values(tmp_path: Path) -> None:
    """A store with a past takes as many values as one that has none, and a full one deletes."""
    numbers = []
    past: list[tuple[str, dict[str, Any]]] = [("with", {}), ("without", {"changes": 0, "versions": 0})]
    for name, options in past:
        folder = tmp_path / name
        folder.mkdir()
        bench = Bench(folder, max_bytes=1 << 19, **options)
        for _ in range(30):
            bench("put", "k0", b"x" * 5_000)
        numbers.append(filled(bench))
        revision = bench("position")["revision"]
        assert bench("delete", "k1") == {"revision": revision + 1}
        bench("put", "k1", 1)
        assert bench.healthy() is None
        bench.stop()
    assert numbers[0] >= numbers[1] - 1 > 50


def make_format_3(folder: Path, count: int) -> None:
    """A store as the runtime before this one has left it."""
    connection = sqlite3.connect(folder / "store.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    total = bytes(16)
    for number in range(1, count + 1):
        entry = ("", f"k{number}", b"\x05", number, None)
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", (*entry, checksum(*entry)))
        total = add_identity(total, identity("", f"k{number}", number))
    connection.execute("UPDATE counter SET revision = ?, identities = ?", (count, total))
    connection.close()


def test_a_store_without_a_past_is_brought_forward_and_goes_back(tmp_path: Path) -> None:
    """The format stays 3: an older runtime still reads it, and what it writes is no hole in the past."""
    make_format_3(tmp_path, 100)
    bench = Bench(tmp_path)
    assert bench.healthy() is None
    assert bench("position") == {"revision": 100, "since": 100} and len(bench("keys")) == 100
    assert bench("put", "k1", 6) == {"revision": 101}
    assert bench("version", "k1", 1) == 5 and bench("history", "k1")[1]["put_at"] is None
    assert "up to revision 100" in conflict(bench, 99)
    assert len(watched(bench, 1, since=100)) == 1
    bench.stop()
    assert raw(tmp_path, "PRAGMA user_version") == [(FORMAT,)] == [(3,)]
    total = int.from_bytes(raw(tmp_path, "SELECT identities FROM counter")[0][0], "big")  # as an older runtime deletes
    total = (total - identity("", "k1", 101)) % (1 << 128)
    raw(tmp_path, "DELETE FROM entries WHERE key = 'k1'")
    entry = ("", "k1", b"\x08", 103, None)  # ... and puts it anew
    total = int.from_bytes(add_identity(total.to_bytes(16, "big"), identity("", "k1", 103)), "big")
    row = f"'', 'k1', X'08', 103, NULL, X'{checksum(*entry).hex()}'"
    raw(tmp_path, f"INSERT INTO entries VALUES ({row})")
    raw(tmp_path, f"UPDATE counter SET revision = 103, identities = X'{total:032x}'")
    bench = Bench(tmp_path)
    assert bench.healthy() is None and bench("position") == {"revision": 103, "since": 103}
    assert "up to revision 103" in conflict(bench, 100)
    assert code_of(bench, "version", "k1", 1) == "not_found", "it was deleted meanwhile"
    assert bench("history", "k1") == [{"revision": 103, "bytes": 1, "put_at": None}]
    bench("put", "k1", 7)
    assert code_of(bench, "version", "k1", 1) == "not_found"
    assert [each["revision"] for each in watched(bench, 1, since=103)] == [104]
    bench.stop()


def test_a_disk_that_takes_no_tables_takes_no_values_away(tmp_path: Path) -> None:
    make_format_3(tmp_path, 3)

    class Refusing(Past):
        is_full = True

        def _make_tables(self, connection: sqlite3.Connection) -> None:
            if self.is_full:
                raise sqlite3.OperationalError("database or disk is full")
            super()._make_tables(connection)

    class FullStore(ClockedStore):
        def make_table(self) -> SqliteTable:
            table = super().make_table()
            table._past = self.past = Refusing()
            return table

    store = FullStore()
    bench = Bench(tmp_path, store)
    assert bench("get", "k1") == 5 and bench("position") == {"revision": 3, "since": 3}
    assert bench("history", "k1") == [{"revision": 1, "bytes": 1, "put_at": None}]
    store.past.is_full = False
    assert bench("put", "k1", 6) == {"revision": 4} and bench("version", "k1", 1) == 5
    bench.stop()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE changes SET key = 'other' WHERE revision = 3",
        "DELETE FROM changes WHERE revision = 3",
        "UPDATE versions SET value = X'07'",
        "UPDATE past SET first = 2",
    ],
)
def test_a_damaged_past_is_dropped_and_told(tmp_path: Path, damage: str) -> None:
    bench = Bench(tmp_path)
    for number in range(5):
        bench("put", "a", number)
    bench.stop()
    raw(tmp_path, damage)
    bench = Bench(tmp_path)
    assert "the history was damaged and is dropped: it begins anew at revision 5" in str(bench.healthy())
    assert bench("get", "a") == 4 and "up to revision 5" in conflict(bench, 0)
    bench.stop()
    bench = Bench(tmp_path)
    assert bench.healthy() is None
    bench.stop()


def test_what_is_damaged_while_it_runs_is_not_served(bench: Bench) -> None:
    bench("put", "a", 1)
    bench("put", "a", 2)
    connection = bench.store._table._file.open_connection()
    connection.execute("UPDATE versions SET value = X'09'")
    connection.execute("UPDATE changes SET operation = 'delete' WHERE revision = 2")
    with pytest.raises(Failed, match="'a' at revision 1 is damaged"):
        bench("version", "a", 1)
    with pytest.raises(Failed, match="the change of revision 2 is damaged"):
        watched(bench, 2, since=0)


def test_who_watches_learns_that_a_change_may_be_missing(bench: Bench) -> None:
    from tlsrt.errors import OutcomeUnknown

    async def scene() -> None:
        stream = cast("AsyncIterator[Any]", invoke(bench.store, "watch", [], {}, subject="client/a"))
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        bench.store._tell("put", ("", "a"), OutcomeUnknown("x"))
        with pytest.raises(Failed, match="watch since the last revision you have"):
            await asyncio.wait_for(waiting, 10)

    bench.run(scene())


WRITER = """
import asyncio, logging, os, sys
from pathlib import Path
from tlsrt.loops.component.component import attach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.secondary.store import Store

async def main():
    store = Store()
    attach(store, address="s/s", options={"changes": 500}, state=Path(sys.argv[1]), log=logging.getLogger(), port=None)
    await store.start()
    async def write(name):
        number = 0
        while True:
            number += 1
            key = f"{name}{number % 7}"
            done = await invoke(store, "put", [key, [number, "x" * 200]], {}, subject="c/" + name)
            os.write(1, b"%d %s %d\\n" % (done["revision"], key.encode(), number))
    await asyncio.gather(write("a"), write("b"), write("c"))

asyncio.run(main())
"""


def test_sigkill_leaves_values_and_past_whole(tmp_path: Path) -> None:
    """After each kill: the last acknowledged value or a later one, no hole in the past, every version readable."""
    chance = random.Random(5)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(chance.randrange(60, 400))]
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.stdout.readlines()
        told = [line.split() for line in lines if line.endswith(b"\n")]
        latest = {key.decode(): (int(revision), int(number)) for revision, key, number in told}
        bench = Bench(tmp_path)
        assert bench.healthy() is None
        for key, (revision, number) in latest.items():
            entry = bench("entry", key)
            assert entry["revision"] >= revision, f"{key} of revision {revision} is lost"
            assert entry["revision"] > revision or entry["value"][0] == number
        position = bench("position")
        count = position["revision"] - position["since"]
        found = watched(bench, count, since=position["since"])
        assert [each["revision"] for each in found] == list(range(position["since"] + 1, position["revision"] + 1))
        keys = {each["revision"]: each["key"] for each in found}
        assert all(keys.get(int(revision), key.decode()) == key.decode() for revision, key, _ in told)
        for key in latest:
            assert all(bench("version", key, each["revision"]) for each in bench("history", key))
        bench.stop()
