"""The backup service without a host: what is kept, timetable, retention, trials, damage, a full disk, kills."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tlsrt.errors import Failed, InvalidArgument, NotFound
from tlsrt.loops.secondary.backup import Backup
from tlsrt.loops.secondary.backup_archive import (
    ArchiveEnd,
    ArchiveEntry,
    BrokenArchive,
    SealingWriter,
)
from tlsrt.loops.secondary.backup_trial import restored, verified
from tlsrt.testing import FakeEvents, running_sync

ROOT = bytes(range(32))
DAY_MS = 86_400_000
NEEDS = {
    "disk_threads": 1,
    "secrets": [{"name": "root", "why": "it seals"}],
    "alerts": [{"name": name, "why": "it is told"} for name in ("failed", "damaged", "late")],
}


class ClockedBackup(Backup):
    now_ms = 0

    def wall_ms(self) -> int:
        type(self).now_ms += 1
        return type(self).now_ms


@pytest.fixture(autouse=True)
def clock() -> None:
    ClockedBackup.now_ms = 1_800_000_000_000


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.txt").write_text("hello")
    (folder / "deep" / "er" / "big").write_bytes(os.urandom(900_001))
    (folder / "empty").touch()
    (folder / "out").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (tmp_path / "target").mkdir()
    (tmp_path / "state").mkdir()
    return folder


@contextmanager
def service(work: Path, events: FakeEvents | None = None, root: bytes = ROOT, **more: Any) -> Iterator[Any]:
    base = work.parent
    source = {"path": str(work), **more.pop("source", {})}
    options = {"target": str(base / "target"), "sources": {"work": source}, "keep_free_bytes": 0, **more}
    with running_sync(
        ClockedBackup, options=options, state=base / "state", address="secondary/backup", needs=NEEDS,
        secrets={"root": root}, events=events or FakeEvents(),
    ) as it:  # fmt: skip
        yield it


def stored(work: Path) -> list[Path]:
    return sorted((work.parent / "target").iterdir())


def fetched(it: Any, id_: str, path: str) -> bytes:
    return b"".join(it.stream("fetch", id_, path))


def test_what_is_kept_comes_back_and_links_and_pipes_are_left_out_and_named(work: Path) -> None:
    big = (work / "deep" / "er" / "big").read_bytes()
    with service(work) as it:
        made = it.call("run_now", "work")
        assert (made["files"], made["folders"], made["left_out"]) == (3, 2, 2)
        assert made["left_out_first"] == ["out (no file or folder)", "pipe (no file or folder)"]
        (work / "a.txt").unlink()
        assert fetched(it, made["id"], "a.txt") == b"hello"
        assert fetched(it, made["id"], "deep/er/big") == big
        assert fetched(it, made["id"], "empty") == b""
        with pytest.raises(NotFound, match="no such file"):
            fetched(it, made["id"], "out")
        assert [one["path"] for one in it.call("contents", made["id"], "deep")] == ["deep", "deep/er", "deep/er/big"]
        assert it.call("try_restore", made["id"])["files"] == 3
        assert not (work.parent / "state" / "trial").exists(), "what was restored is removed"
        status = it.call("status")["sources"]["work"]
        assert status["good_id"] == status["trial_id"] == made["id"]
    assert b"hello" not in stored(work)[0].read_bytes(), "it lies sealed"
    assert stored(work)[0].stat().st_mode & 0o777 == 0o600


def test_a_database_is_of_one_moment_while_its_owner_writes(work: Path) -> None:
    with closing(sqlite3.connect(work / "data.sqlite", isolation_level=None)) as owner, service(work) as it:
        owner.execute("PRAGMA journal_mode = WAL")
        owner.execute("CREATE TABLE pairs (one INTEGER, two INTEGER)")
        owner.execute("INSERT INTO pairs VALUES (1, 1)")
        owner.execute("BEGIN IMMEDIATE")
        owner.execute("INSERT INTO pairs VALUES (2, 2)")  # not committed, so not in it
        made = it.call("run_now", "work")
        owner.execute("COMMIT")
        copy = work.parent / "copy.sqlite"
        copy.write_bytes(fetched(it, made["id"], "data.sqlite"))
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT * FROM pairs").fetchall() == [(1, 1)]
        assert not [one for one in it.call("contents", made["id"]) if one["path"].endswith(("-wal", "-shm"))]
        it.call("try_restore", made["id"])


def test_a_damaged_database_is_no_backup_and_is_told(work: Path) -> None:
    with closing(sqlite3.connect(work / "data.sqlite")) as owner:
        owner.execute("CREATE TABLE t (x)")
        owner.executemany("INSERT INTO t VALUES (?)", [("x" * 100,)] * 1000)
        owner.commit()
    data = bytearray((work / "data.sqlite").read_bytes())
    data[8192:12288] = bytes(4096)
    (work / "data.sqlite").write_bytes(data)
    events = FakeEvents()
    with service(work, events) as it:
        with pytest.raises(Failed, match=r"database .* is damaged|cannot be copied"):
            it.call("run_now", "work")
        assert it.call("list") == []
        assert it.call("status")["sources"]["work"]["failure"]
    assert stored(work) == []


@pytest.mark.parametrize("place", [0, 30, 200, 1000, -1, -20])
def test_a_damaged_byte_is_found_wherever_it_is(work: Path, place: int) -> None:
    with service(work) as it:
        made = it.call("run_now", "work")
        data = bytearray(stored(work)[0].read_bytes())
        data[place] ^= 1
        stored(work)[0].write_bytes(data)
        with pytest.raises(Failed, match=r"is no good: .*; make another by run_now"):
            it.call("verify", made["id"])
        assert it.call("list")[0]["damage"]
        assert it.call("status")["sources"]["work"]["good_id"] is None
        with pytest.raises(Failed, match="is no good"):
            it.call("try_restore", made["id"])


def sealed(source: str = "work", names: tuple[str, ...] = ("a", "b")) -> bytes:
    out = io.BytesIO()
    writer = SealingWriter(out, ROOT, source, 1)
    for name in names:
        writer.begin(ArchiveEntry(name, "file", 0o600, 1))
        writer.add(os.urandom(100_000))
        writer.add(os.urandom(100_000))
        writer.end()
    writer.finish(0)
    return out.getvalue()


def test_each_cut_and_each_changed_byte_is_found() -> None:
    data = sealed()
    assert isinstance(list(verified(io.BytesIO(data), ROOT, "work"))[-1], ArchiveEnd)
    for at in [*range(300), *range(300, len(data), 4999)]:
        with pytest.raises(BrokenArchive):
            list(verified(io.BytesIO(data[:at]), ROOT, "work"))
        with pytest.raises(BrokenArchive):
            list(verified(io.BytesIO(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]), ROOT, "work"))
    with pytest.raises(BrokenArchive):
        list(verified(io.BytesIO(data + b"x"), ROOT, "work"))
    with pytest.raises(BrokenArchive, match="another root"):
        list(verified(io.BytesIO(data), bytes(32), "work"))
    with pytest.raises(BrokenArchive, match="under another name"):
        list(verified(io.BytesIO(data), ROOT, "other"))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a//b", "a\0b"])
def test_no_path_in_it_leads_out_of_the_trial(tmp_path: Path, name: str) -> None:
    (tmp_path / "trial").mkdir()
    with pytest.raises(BrokenArchive, match="leads out"):
        list(restored(io.BytesIO(sealed(names=(name,))), ROOT, "work", tmp_path / "trial"))
    assert list(tmp_path.iterdir()) == [tmp_path / "trial"]


def test_the_timetable_runs_what_is_due_once_also_what_was_missed(work: Path) -> None:
    with service(work, source={"at": "30 3 * * *"}) as it:
        it.run(it.component.look())
        assert it.call("list") == []
        ClockedBackup.now_ms += DAY_MS
        it.run(it.component.look())
        it.run(it.component.look())
        assert len(it.call("list")) == 1
    ClockedBackup.now_ms += 3 * DAY_MS
    with service(work, source={"at": "30 3 * * *"}) as it:
        it.run(it.component.look())
        it.run(it.component.look())
        assert len(it.call("list")) == 2, "three that were missed are one"
        ClockedBackup.now_ms += 7 * DAY_MS
        it.run(it.component.look())
        assert it.call("status")["sources"]["work"]["trial_id"], "a restore was tried by the timetable"


def test_more_than_is_kept_goes_and_never_the_last_good_one(work: Path) -> None:
    with service(work, source={"keep": 2}) as it:
        ids = []
        for _ in range(4):
            ids.append(it.call("run_now", "work")["id"])
            ClockedBackup.now_ms += 1000
        assert [one["id"] for one in it.call("list")] == [ids[3], ids[2]]
    ClockedBackup.now_ms += 30 * DAY_MS
    with service(work, source={"keep": 10, "keep_days": 7}) as it:
        last = it.call("run_now", "work")["id"]
        assert [one["id"] for one in it.call("list")] == [last]


def test_what_is_late_is_told_once(work: Path) -> None:
    events = FakeEvents()
    work.rename(work.with_name("away"))
    with service(work, events, source={"late_after_s": 3600}) as it:
        ClockedBackup.now_ms += DAY_MS
        it.run(it.component.look())
        status = it.call("status")["sources"]["work"]
        assert status["is_late"]
        assert "needs" in status["failure"]
        assert "no good backup for long: work" in it.run(it.component.healthy())


def test_a_disk_with_too_little_room_is_told_and_leaves_nothing(work: Path) -> None:
    with service(work, keep_free_bytes=1 << 49) as it:
        with pytest.raises(Failed, match="bytes left: make room there, or keep fewer"):
            it.call("run_now", "work")
        assert stored(work) == []


@pytest.mark.parametrize("id_", ["../../etc/passwd", "work", "work.x", "work.20260101T000000.000Z/../x"])
def test_an_id_is_no_path(work: Path, id_: str) -> None:
    with service(work) as it, pytest.raises(InvalidArgument, match="an id that"):
        it.call("verify", id_)


def test_what_is_not_there_is_said_so(work: Path) -> None:
    with service(work) as it:
        with pytest.raises(NotFound, match=r"no backup work\.20260101T000000\.000Z"):
            it.call("verify", "work.20260101T000000.000Z")
        with pytest.raises(NotFound, match="no source other; there are work"):
            it.call("run_now", "other")


def test_a_writer_that_is_killed_leaves_nothing_that_counts(work: Path) -> None:
    """A process that makes backups is killed at random moments; each that has a name then opens to its end."""
    target = work.parent / "target"
    script = (
        "import itertools, sys\nfrom pathlib import Path\n"
        "from tlsrt.loops.secondary.backup_archive import SealingWriter\n"
        "from tlsrt.loops.secondary.backup_shelf import Shelf\n"
        "from tlsrt.loops.secondary.backup_source import Source\n"
        "shelf = Shelf(Path(sys.argv[2]))\nshelf.prepare()\n"
        "for number in itertools.count(int(sys.argv[3])):\n"
        "    id_ = f'work.20260101T{number:06d}.000Z'\n"
        "    with shelf.begin(id_) as out:\n"
        "        writer = SealingWriter(out, bytes(range(32)), 'work', number)\n"
        "        for _ in Source(Path(sys.argv[1]), Path(sys.argv[2]) / 'scratch').put(writer): pass\n"
        "        writer.finish(0)\n        shelf.finish(id_, out)\n    print(id_, flush=True)\n"
    )
    acknowledged: set[str] = set()
    for life in range(10):
        command = [sys.executable, "-c", script, str(work), str(target), str(life * 1000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged.add(process.stdout.readline().strip())
            time.sleep((life * 7 % 10) / 500)  # the moment of the kill is what is tried
            process.send_signal(signal.SIGKILL)
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
    there = {path.name.removesuffix(".tlsrt-backup") for path in target.glob("work.*")}
    assert acknowledged <= there
    for path in target.glob("work.*"):
        with open(path, "rb") as file:
            list(verified(file, ROOT, "work"))
    with service(work):
        assert not list(target.glob(".*")), "what was not finished is removed at the start"


def test_a_trial_of_what_is_not_there_leaves_no_record(work: Path) -> None:
    """Else a caller who may try restores makes the record grow by names of sources that there are not."""
    with service(work) as it:
        for number in range(20):
            with pytest.raises(NotFound):
                it.call("try_restore", f"made-up-{number}.20260101T000000.000Z")
            with pytest.raises(NotFound):
                it.call("verify", f"made-up-{number}.20260101T000000.000Z")
        assert not [name for name in it.component._record.sources if name.startswith("made-up")]
