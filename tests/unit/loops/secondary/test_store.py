"""The store: revisions, texts, expiry, namespaces, bounds, a full disk, and SIGKILL in the middle of writing."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fakes.store_bench import StoreBench as Bench

from tlsrt.errors import CallError, ConfigError, Failed, InvalidArgument, NotFound
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.disk_thread import DiskWork
from tlsrt.loops.secondary.store import VALUE_BYTES


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.stop()


@pytest.mark.parametrize(
    "value", [None, True, -(2**63), 2**64 - 1, 1.5, "ä", b"\0\xff", [1, [2]], {"a": {"b": [None]}}]
)
def test_values_come_back_as_they_were(bench: Bench, value: object) -> None:
    bench("put", "key", value)
    assert bench("get", "key") == value


def test_revisions_rise_for_ever(bench: Bench, tmp_path: Path) -> None:
    assert bench("put", "a", 1) == {"revision": 1}
    assert bench("put", "b", 1) == {"revision": 2}
    assert bench("delete", "a") == {"revision": 3}
    bench.stop()
    again = Bench(tmp_path)
    assert again("put", "a", 1) == {"revision": 4}
    assert again("entry", "b") == {"value": 1, "revision": 2, "expires_in_s": None}
    again.stop()


def test_compare_and_set(bench: Bench) -> None:
    revision = bench("put", "a", 1, if_revision=0)["revision"]
    for stale in (0, revision + 1, 2**64 - 1):
        with pytest.raises(CallError) as caught:
            bench("put", "a", 2, if_revision=stale)
        assert caught.value.code == "conflict"
    assert bench("get", "a") == 1
    with pytest.raises(CallError) as caught:
        bench("delete", "a", if_revision=9)
    assert caught.value.code == "conflict"
    bench("delete", "a", if_revision=revision)
    with pytest.raises(CallError, match="has no value"):
        bench("put", "a", 2, if_revision=revision)


def test_a_refused_change_uses_no_revision(bench: Bench) -> None:
    with pytest.raises(CallError):
        bench("put", "a", 1, if_revision=5)
    with pytest.raises(NotFound):
        bench("delete", "a")
    assert bench("put", "a", 1) == {"revision": 1}


def test_values_expire(bench: Bench) -> None:
    bench("put", "a", 1, ttl_s=10)
    bench("put", "b", 1)
    bench.store.now_ms += 9_999
    assert bench("entry", "a")["expires_in_s"] == 0.001
    bench.store.now_ms += 1
    with pytest.raises(NotFound, match="no value under 'a'"):
        bench("get", "a")
    assert bench("keys") == ["b"]
    with pytest.raises(NotFound):
        bench("delete", "a")
    assert bench("put", "a", 2, if_revision=0)["revision"] > 2, "an expired value is no value"


def test_expired_values_leave_the_disk(bench: Bench, tmp_path: Path) -> None:
    for number in range(40):
        bench("put", f"k{number}", 1, ttl_s=1)
    bench.store.now_ms += 2000
    bench("put", "x", 1)
    bench.run(bench.store.expire_values())
    bench.stop()
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    connection.close()


def test_keys_are_sorted_and_paged(bench: Bench) -> None:
    for key in ("b/2", "a", "b/1", "b%", "c", "b_"):
        bench("put", key, 1)
    assert bench("keys", "b/") == ["b/1", "b/2"]
    assert bench("keys", "b%") == ["b%"], "no pattern characters"
    assert bench("keys", limit=2) == ["a", "b%"]
    assert bench("keys", after="b%", limit=2) == ["b/1", "b/2"]
    assert bench("keys", "b", "b/1") == ["b/2", "b_"]


@pytest.mark.parametrize("key", ["", "x" * 257, "a\nb", "a\0b", "\ud800", 5, None, b"a"])
def test_bad_keys_are_refused_by_name(bench: Bench, key: object) -> None:
    for method, rest in (("put", [1]), ("get", []), ("delete", []), ("entry", [])):
        with pytest.raises(InvalidArgument, match=r"^key: "):
            bench(method, key, *rest)


def test_large_and_odd_values_are_refused(bench: Bench) -> None:
    bench("put", "a", b"x" * (VALUE_BYTES - 5))
    for value in (b"x" * VALUE_BYTES, 2**70, {1, 2}):
        with pytest.raises(InvalidArgument, match=r"^value: "):
            bench("put", "a", value)
    nested: object = 1
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(InvalidArgument, match=r"^value: "):
        bench("put", "a", nested)
    assert len(bench("get", "a")) == VALUE_BYTES - 5


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e300, "1"])
def test_bad_ttl_is_refused(bench: Bench, ttl: object) -> None:
    with pytest.raises(InvalidArgument, match=r"^ttl_s: "):
        bench("put", "a", 1, ttl_s=ttl)


def test_subjects_can_be_kept_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, namespace="per_subject")
    bench("put", "a", "mine", subject="client/a")
    with pytest.raises(NotFound):
        bench("get", "a", subject="client/b")
    assert bench("keys", subject="client/b") == []
    bench("put", "a", "hers", subject="client/b")
    assert bench("get", "a", subject="client/a") == "mine"
    bench.stop()


@pytest.mark.parametrize("namespace", ["shared", "per_subject"])
def test_watch_tells_changes_to_those_who_may_know(tmp_path: Path, namespace: str) -> None:
    bench = Bench(tmp_path, namespace=namespace)

    async def scene() -> list[Any]:
        stream = cast("AsyncIterator[Any]", invoke(bench.store, "watch", ["a"], {}, subject="client/a"))
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        changes: list[tuple[str, list[object], str]] = [
            ("put", ["b", 1], "client/a"),
            ("put", ["a1", 1], "client/b"),
            ("put", ["a2", 1], "client/a"),
            ("delete", ["a2"], "client/a"),
        ]
        for method, args, subject in changes:
            await cast("Awaitable[object]", invoke(bench.store, method, args, {}, subject=subject))
        first = await waiting
        await bench.store.stop()
        return [first, *[change async for change in stream]]

    found = [(change["operation"], change["key"]) for change in bench.run(scene())]
    bench.stop()
    mine = [("put", "a2"), ("delete", "a2")]
    assert found == (mine if namespace == "per_subject" else [("put", "a1"), *mine])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_byte": 1}, "unknown option max_byte, did you mean max_bytes"),
        ({"max_bytes": "1"}, "option max_bytes: expected int, got str"),
        ({"max_bytes": True}, "option max_bytes: expected int, got bool"),
        ({"namespace": "own"}, "option namespace: expected 'shared' . 'per_subject', got 'own'"),
    ],
)
def test_wrong_options_are_told_at_start(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Bench(tmp_path, **options)


@pytest.mark.parametrize("error", [ZeroDivisionError(), StopIteration(), SystemExit()])
def test_a_change_that_fails_half_way_is_undone_and_no_other(bench: Bench, error: BaseException) -> None:
    table = bench.store._table

    def half() -> None:
        table.put("", "half", b"\xc0", None, None, 0)
        raise error

    def put(key: str) -> DiskWork[Any]:
        return DiskWork(partial(table.put, "", key, b"\xc0", None, None, 0), is_change=True)

    outcomes = table.carry_out([put("a"), DiskWork(half, is_change=True), put("b")])
    assert outcomes[1] is error and not any(isinstance(outcomes[at], BaseException) for at in (0, 2))
    assert bench("keys") == ["a", "b"]


def test_every_commit_is_synced(bench: Bench) -> None:
    connection = bench.store._table._file.open_connection()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "2 is FULL: sqlite.org/pragma.html"


def test_a_damaged_or_newer_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database" * 500)
    bench = Bench(tmp_path)
    for method, *args in (("get", "a"), ("put", "a", 1), ("delete", "a"), ("keys",)):
        with pytest.raises(Failed, match="cannot serve the store: its database is damaged"):
            bench(method, *args)
    assert "restore store.sqlite from a backup" in str(bench.healthy())
    bench.stop()
    (tmp_path / "store.sqlite").unlink()
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ConfigError, match="format 9"):
        Bench(tmp_path)


def test_a_full_store_refuses_and_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=1 << 18)
    stored = _fill(lambda key: bench("put", key, b"x" * 20_000))
    assert 5 <= stored < 14
    assert len(bench("get", "k0")) == 20_000
    assert bench("delete", "k0") == {"revision": stored + 1}, "the refused change left nothing, not even a revision"
    bench("put", "k0", 1)
    assert bench("get", "k0") == 1
    bench.stop()


def _fill(put: Callable[[str], object]) -> int:
    for number in range(100):
        try:
            put(f"k{number}")
        except Failed as error:
            refusal = error.message
            break
    else:
        raise AssertionError("the store never filled")
    assert refusal.startswith("the store cannot write"), refusal
    return number


FULL_DISK = """
import resource, signal, sys
import asyncio, logging
from pathlib import Path
from tlsrt.errors import Failed
from tlsrt.loops.component.component import attach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.disk_thread import DiskWork
from tlsrt.loops.secondary.store import Store

async def main():
    store = Store()
    attach(store, address="s/s", options={}, state=Path(sys.argv[1]), log=logging.getLogger(), port=None)
    await store.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    done = 0
    for number in range(100):
        try:
            await invoke(store, "put", [f"k{number}", b"x" * 20_000], {}, subject="c/a")
            done += 1
        except Failed as error:
            assert error.message.startswith("the store cannot write"), error.message
            break
    else:
        raise SystemExit("never full")
    for number in range(done):
        assert len(await invoke(store, "get", [f"k{number}"], {}, subject="c/a")) == 20_000
    try:
        await invoke(store, "get", [f"k{done}"], {}, subject="c/a")
    except Exception as error:
        assert error.code == "not_found", error
    else:
        raise SystemExit("a failed put left a value")
    await store.stop()
    print(done)

asyncio.run(main())
"""


def test_a_disk_that_refuses_bytes_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 3
    bench = Bench(tmp_path)
    assert len(bench("keys")) == int(run.stdout)
    bench.stop()


WRITER = """
import sys
import asyncio, logging, os
from pathlib import Path
from tlsrt.loops.component.component import attach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.disk_thread import DiskWork
from tlsrt.loops.secondary.store import Store

async def main():
    store = Store()
    attach(store, address="s/s", options={}, state=Path(sys.argv[1]), log=logging.getLogger(), port=None)
    await store.start()
    number = int(sys.argv[2])
    while True:
        await invoke(store, "put", [f"k{number:08}", "x" * 200], {}, subject="c/a")
        os.write(1, b"%d\\n" % number)
        number += 1

asyncio.run(main())
"""


def test_sigkill_of_the_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged = 0
    for wanted in (50, 173, 301):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(wanted)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
            assert writer.wait(10) == -signal.SIGKILL
        acknowledged = int([line for line in lines if line.endswith(b"\n")][-1]) + 1
        bench = Bench(tmp_path)
        for number in range(acknowledged):
            assert bench.store._table.get("", f"k{number:08}", 0) is not None, f"{number} of {acknowledged} is lost"
        bench.stop()
    connection = sqlite3.connect(tmp_path / "store.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert acknowledged >= 50 + 173 + 301


def test_it_is_well_until_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    assert bench.healthy() is None
    room = os.statvfs(tmp_path)
    for field, value, words in (("f_bavail", 0, "is full"), ("f_flag", os.ST_RDONLY, "is read-only")):
        there = SimpleNamespace(**{name: getattr(room, name) for name in dir(room) if name.startswith("f_")})
        setattr(there, field, value)
        with monkeypatch.context() as patched:
            patched.setattr(os, "statvfs", lambda folder, there=there: there)
            assert words in str(bench.healthy())
    bench.store._table._file.open_connection().execute("DROP TABLE counter")
    assert "no such table" in str(bench.healthy())
    bench.stop()


def test_only_strings_that_are_alive_are_texts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    texts = {"a": "", "b": "x" * 31, "c": "y" * 32, "d": "z" * 256, "e": "ä" * 70_000}
    for key, text in texts.items():
        bench("put", key, text)
    for number, value in enumerate([None, True, 7, -1, -33, 1.5, b"x", ["x"], {"x": "x"}, 2**40, b"y" * 300]):
        bench("put", f"no{number}", value)
    bench("put", "late", "soon gone", ttl_s=0.001)
    bench("put", "own", "another's", namespace="client/a", subject="client/a")
    found = bench.store._table.texts("", 100, bench.store.wall_ms() + 1000)
    assert found == {key: number for number, key in enumerate(texts, 1)}
    assert list(bench.store._table.texts("", 2, bench.store.wall_ms() + 1000)) == ["e", "d"], "the newest"
    bench.stop()
