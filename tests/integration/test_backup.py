"""The backup service on a real host: in the full sandbox, a database that is written, a full disk, kills, rights."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import CallError, Client, Denied, Failed, Rejected

BACKUP, PROCESS = "secondary/backup", "secondary.backup"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="folders are given to the component's uid by root")


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder to keep, databases, a small disk for backups, and a folder that is granted to no one."""
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-backup."))
    folder.chmod(0o755)
    for name in ("work", "data", "target", "hidden"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "none", str(folder / "target")], check=True)
    (folder / "work" / "photo").write_bytes(os.urandom(3_000_000))
    (folder / "work" / "out").symlink_to(folder / "hidden" / "secret")
    (folder / "hidden" / "secret").write_text("hidden")
    yield folder
    subprocess.run(["umount", "-l", str(folder / "target")], check=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, base: Path) -> Iterator[RunningHost]:
    sources = {"work": {"path": str(base / "work"), "keep": 3}, "data": {"path": str(base / "data")}}
    sources["hidden"] = {"path": str(base / "hidden")}  # in the options, and granted to no one
    sources["host"] = {"runtime": True, "keep": 2}
    reads, writes = [base / "work"], [base / "data", base / "target"]
    for host in running(request, clients=["kiosk"], extra={"supervision": {"restart": {"deaths": 100, "cap_s": 0.05}}}):
        words = ["--option", f"sources={json.dumps(sources)}", "--option", f"target={base / 'target'}"]
        words += ["--option", "keep_free_bytes=1000000"]
        for key, paths in (("read", reads), ("write", writes)):
            words += ["--needs", f"{key}={json.dumps([{'path': str(path), 'why': 'kept'} for path in paths])}"]
        words += ["--needs", "runtime=[{may: backup, why: the host is kept}]"]
        words += ["--allow", 'client/admin: "*"', "--allow", "client/kiosk: [status]"]
        added = host.cli("component", "add", BACKUP, "--yes", *words)
        made = host.cli("secret", "make", BACKUP, "root")
        assert made.returncode == 0, added.stdout + added.stderr + made.stderr
        yield host


@pytest.fixture
def client(host: RunningHost) -> Iterator[Client]:
    with host.client() as client:
        yield client


def made(client: Client, source: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.call(BACKUP, "run_now", source, timeout_s=60)
    return answer


def test_a_folder_is_kept_verified_restored_and_fetched(client: Client, base: Path) -> None:
    answer = made(client, "work")
    assert (answer["files"], answer["left_out_first"]) == (1, ["out (no file or folder)"])
    photo = (base / "work" / "photo").read_bytes()
    assert b"".join(client.stream(BACKUP, "fetch", answer["id"], "photo")) == photo
    assert client.call(BACKUP, "verify", answer["id"])["content_bytes"] == len(photo)
    assert client.call(BACKUP, "try_restore", answer["id"], timeout_s=60)["files"] == 1
    status = client.call(BACKUP, "status")
    assert status["sources"]["work"]["trial_id"] == answer["id"]
    assert status["sources"]["work"]["next_wall_ms"] > status["sources"]["work"]["good_ms"]
    assert photo[:1000] not in next((base / "target").glob("work.*")).read_bytes()


def test_databases_of_one_moment_while_another_process_writes(client: Client, base: Path) -> None:
    over = threading.Event()
    path = base / "data" / "pairs.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute("PRAGMA journal_mode = WAL")
        owner.execute("CREATE TABLE pairs (name TEXT, number INTEGER)")
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).chmod(0o666)

        def write() -> None:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
                number = 0
                while not over.is_set():
                    number += 1
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany("INSERT INTO pairs VALUES (?, ?)", [("a", number), ("b", number)])
                    connection.execute("COMMIT")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            ids = [made(client, "data")["id"] for _ in range(3)]
        finally:
            over.set()
            writer.join(60)
    for id_ in ids:
        copy = base / "copy.sqlite"
        copy.write_bytes(b"".join(client.stream(BACKUP, "fetch", id_, "pairs.sqlite")))
        with closing(sqlite3.connect(copy)) as connection:
            sums = dict(connection.execute("SELECT name, sum(number) FROM pairs GROUP BY name").fetchall())
        assert sums.get("a") == sums.get("b")


def restore_there(there: Path, file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Restore a host at another place, as on another machine."""
    command = [sys.executable, "-m", "tlsrt.supervisor.cli.main", "backup", "restore", str(file), *words]
    return subprocess.run(
        [*command, "--config", str(there / "tlsrt.yaml")], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_host_itself_is_kept_sealed_and_comes_back_elsewhere_by_its_keys(
    host: RunningHost, client: Client, tmp_path: Path
) -> None:
    client.call("secondary/store", "put", "kept", "in the host")
    answer = made(client, "host")
    assert (answer["files"], answer["left_out"]) == (1, 0)
    sealed = tmp_path / "host.sealed"
    sealed.write_bytes(b"".join(client.stream(BACKUP, "fetch", answer["id"], "host.sealed")))
    assert b"in the host" not in sealed.read_bytes() and b"secondary/store" not in sealed.read_bytes()
    assert client.call(BACKUP, "try_restore", answer["id"], timeout_s=60)["files"] == 1
    host.told("runtime_act")
    verified = host.cli("backup", "verify", str(sealed))
    assert verified.returncode == 0 and "with the master_key of this host" in verified.stdout, verified.stderr
    keys = tmp_path / "keys"
    assert host.cli("backup", "create", str(tmp_path / "x.backup"), "--with-keys", str(keys)).returncode == 0
    there = tmp_path / "there"
    there.mkdir()
    locked = restore_there(there, sealed)
    assert locked.returncode != 0 and "give its keys with --keys" in locked.stderr and not any(there.iterdir())
    before = host.pids()
    restored = restore_there(there, sealed, "--keys", str(keys))
    assert restored.returncode == 0, restored.stderr
    assert (there / "tlsrt.yaml").read_bytes() == (host.folder / "tlsrt.yaml").read_bytes()
    assert {path.name for path in (there / "state").iterdir()} >= {"authority", "secondary", PROCESS}
    assert host.pids() == before and client.call("secondary/store", "get", "kept") == "in the host"
    cut = tmp_path / "cut"
    cut.write_bytes(sealed.read_bytes()[:-100])
    assert "was cut off" in host.cli("backup", "verify", str(cut)).stderr


def test_what_is_not_granted_is_neither_kept_nor_reached(host: RunningHost, client: Client) -> None:
    with pytest.raises(Failed, match=r"hidden: .*; name it under `needs`"):
        made(client, "hidden")
    with host.client("kiosk") as kiosk:
        assert kiosk.call(BACKUP, "status")["sources"]["hidden"]["failure"]
        with pytest.raises((Denied, Rejected)):
            list(kiosk.stream(BACKUP, "fetch", "work.20260101T000000.000Z", "photo"))
        with pytest.raises((Denied, Rejected)):
            kiosk.call(BACKUP, "run_now", "work")


def test_a_full_disk_leaves_what_was_kept_and_says_so(client: Client, base: Path) -> None:
    before = {one["id"] for one in client.call(BACKUP, "list")}
    filler = base / "target" / "filler"
    with suppress(OSError), open(filler, "wb", buffering=0) as out:
        while out.write(bytes(65536)):
            continue
    with pytest.raises(Failed, match=r"left: make room there|No space left"):
        made(client, "work")
    filler.unlink()
    assert {one["id"] for one in client.call(BACKUP, "list")} == before
    assert not list((base / "target").glob(".*")), "the unfinished one is removed"
    made(client, "work")


def until_another(host: RunningHost, pid: int) -> None:
    def is_there(status: dict[str, Any]) -> bool:
        return any(one["name"] == PROCESS and one["state"] == "active" and one["pid"] != pid for one in status["loops"])

    host.until(is_there, "another one", timeout_s=30)


def test_a_kill_at_any_point_leaves_only_whole_ones(host: RunningHost, client: Client) -> None:
    kill_while_backing_up(host, client, 5, 3)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_100_kills_leave_only_whole_ones(host: RunningHost, client: Client) -> None:
    kill_while_backing_up(host, client, 100, random.randrange(1 << 30))


def kill_while_backing_up(host: RunningHost, client: Client, kills: int, seed: int) -> None:
    chance, acknowledged = random.Random(seed), set[str]()
    print("seed", seed)
    for _ in range(kills):
        pid = host.loop(PROCESS)["pid"]
        timer = threading.Timer(chance.random() * 0.2, lambda: host.kill(PROCESS))
        timer.start()
        try:
            while True:
                acknowledged.add(made(client, "work")["id"])
        except CallError:
            timer.join()
        until_another(host, pid)
    print("acknowledged:", len(acknowledged))
    kept = [one["id"] for one in client.call(BACKUP, "list", "work")]
    assert set(kept) >= set(sorted(acknowledged)[-2:])
    for id_ in kept:
        client.call(BACKUP, "verify", id_, timeout_s=60)


def test_a_damaged_byte_is_found(client: Client, base: Path) -> None:
    id_ = made(client, "work")["id"]
    path = base / "target" / f"{id_}.tlsrt-backup"
    with open(path, "r+b") as file:
        file.seek(-1_000_000, 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(Failed, match="is no good"):
        client.call(BACKUP, "try_restore", id_, timeout_s=60)
    assert client.call(BACKUP, "list")[0]["damage"]
