"""Files of the host through TLS, in the full sandbox: rights, transfers that break, a full disk, kills, and watches."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.cutting_proxy import cutting
from hosts.running_host import RunningHost, running

from tlsrt import CallError, Client, Denied, Failed, Unavailable

FILES, PROCESS = "third/files", "third.files"
MIB = 1 << 20
COMMAND = (sys.executable, "-m", "tlsrt.channels.cli.main")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="folders are given to the component's uid by root")


@pytest.fixture(scope="module")
def trees() -> Iterator[Path]:
    """Folders of the host: one to write, one to read, and a small disk of its own."""
    base = Path(tempfile.mkdtemp(prefix="tlsrt-trees."))
    base.chmod(0o755)
    for name in ("work", "shown", "small"):
        (base / name).mkdir(mode=0o777)
    (base / "secret").write_text("secret")
    (base / "secret").chmod(0o644)
    (base / "shown" / "a.txt").write_text("shown")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", str(base / "small")], check=True)
    for name in ("work", "shown", "small"):
        (base / name).chmod(0o777)
    yield base
    subprocess.run(["umount", "-l", str(base / "small")], check=True)
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, trees: Path) -> Iterator[RunningHost]:
    options = {
        "work": {"path": str(trees / "work"), "rights": "rw", "writers": ["client/admin"], "readers": ["client/kiosk"]},
        "shown": {"path": str(trees / "shown")},
        "small": {"path": str(trees / "small"), "rights": "rw", "keep_free_bytes": 0},
    }
    needs = {
        "write": [{"path": str(trees / name), "why": "a tree"} for name in ("work", "small")],
        "read": [{"path": str(trees / "shown"), "why": "a tree"}],
    }
    extra = {"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}
    for host in running(request, clients=["kiosk"], extra=extra):
        words = ["--option", f"trees={json.dumps(options)}"]
        for key, value in needs.items():
            words += ["--needs", f"{key}={json.dumps(value)}"]
        for name in ("admin", "kiosk"):
            words += ["--allow", f'client/{name}: "*"']
        added = host.cli("component", "add", FILES, "--yes", *words)
        assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture
def client(host: RunningHost) -> Client:
    client = host.client()
    until_counted(client)
    return client


def until_counted(client: Client) -> None:
    for name in ("work", "small"):
        while next(one for one in client.call(FILES, "list")["entries"] if one["name"] == name)["files"] is None:
            time.sleep(0.01)


def put(client: Client, path: str, data: bytes) -> Any:
    about = (path, len(data), hashlib.sha256(data).hexdigest())
    client.call(FILES, "begin_put", *about)
    return client.upload(FILES, "go_on_put", data, *about, 0)


def test_trees_and_rights(host: RunningHost, client: Client, trees: Path) -> None:
    assert {one["name"]: one["rights"] for one in client.call(FILES, "list")["entries"]} == {
        "shown": "r", "small": "rw", "work": "rw",
    }  # fmt: skip
    assert client.call(FILES, "read", "shown/a.txt") == b"shown"
    with pytest.raises(Denied, match="to be read"):
        client.call(FILES, "write", "shown/b", "x")
    client.call(FILES, "mkdir", "work/2026/May", parents=True)
    assert client.call(FILES, "write", "work/2026/May/note", "hello") == 5
    client.call(FILES, "move", "work/2026/May/note", "work/note")
    assert (trees / "work" / "note").read_text() == "hello"
    with host.client("kiosk") as kiosk:
        assert kiosk.call(FILES, "read", "work/note") == b"hello"
        with pytest.raises(Denied, match="client/kiosk may not write in tree work"):
            kiosk.call(FILES, "remove", "work/note")


def test_links_and_other_names_lead_nowhere(client: Client, trees: Path) -> None:
    work = trees / "work"
    (work / "link").symlink_to(trees / "shown" / "a.txt")  # a file that the process may read
    (work / "folder").symlink_to(trees / "shown")
    (work / "up").symlink_to("..")
    (trees / "shown" / "twin").touch()
    os.mkfifo(work / "fifo")
    for path in ("work/link", "work/folder/a.txt", "work/up/secret", "work/fifo"):
        with pytest.raises(Denied):
            client.call(FILES, "read", path)
    with pytest.raises(Denied):
        client.call(FILES, "write", "work/folder/b", "x")
    for name in ("link", "folder", "up", "fifo"):
        client.call(FILES, "remove", f"work/{name}")
    assert (trees / "secret").read_text() == "secret"


def test_put_and_get_by_the_command_over_a_connection_that_is_cut(
    host: RunningHost, trees: Path, tmp_path: Path
) -> None:
    data = random.Random(7).randbytes(3 * MIB + 17)
    (tmp_path / "photo.bin").write_bytes(data)
    (trees / "work" / "photos").mkdir(mode=0o777)
    (trees / "work" / "photos").chmod(0o777)
    bundle = ["--bundle", str(host.folder / "admin.tlsrt")]
    with cutting(host.port, [MIB, MIB]) as cutter:
        words = ["put", str(tmp_path / "photo.bin"), f"{FILES}/work/photos/p.bin", "--address", cutter.address]
        done = subprocess.run([*COMMAND, *bundle, *words], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert cutter.connections == 3, "it went on where it was"
    assert (trees / "work" / "photos" / "p.bin").read_bytes() == data
    with cutting(host.port, [MIB, MIB]) as cutter:
        words = ["get", f"{FILES}/work/photos/p.bin", str(tmp_path), "--address", cutter.address]
        done = subprocess.run([*COMMAND, *bundle, *words], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "p.bin").read_bytes() == data


def test_a_disk_that_is_full_is_said_and_changes_nothing(client: Client, trees: Path) -> None:
    client.call(FILES, "write", "small/a", b"x" * 200_000)
    with pytest.raises(Failed, match="full"):
        put(client, "small/a", b"y" * (2 * MIB))
    told = 200_000
    with contextlib.suppress(Failed):
        while told < 2 * MIB:
            told = client.call(FILES, "append", "small/a", b"z" * 150_000)
    assert told < MIB
    content = (trees / "small" / "a").read_bytes()
    assert content == b"x" * 200_000 + b"z" * (told - 200_000), "all of an append, or nothing"
    client.call(FILES, "remove", "small/a")
    assert put(client, "small/b", b"y" * 200_000)["done"]


def test_a_watch_tells_of_other_programs(client: Client, trees: Path) -> None:
    changes = client.stream(FILES, "watch", "shown")
    first = next(changes)
    assert "a.txt" in [one["name"] for one in first["entries"]] and first["complete"]
    (trees / "shown" / "new").write_text("x")
    words = [next(changes) for _ in range(2)]
    assert [one["name"] for one in words] == ["new", "new"] and words[0]["change"] == "created"


def test_what_was_acknowledged_is_there_after_kills(host: RunningHost, trees: Path) -> None:
    kill_while_writing(host, trees, 3, 50_000)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_what_was_acknowledged_is_there_after_100_kills(host: RunningHost, trees: Path) -> None:
    for path in (trees / "work").glob("kill-*"):
        path.unlink()
    kill_while_writing(host, trees, 100, 4_000)


def kill_while_writing(host: RunningHost, trees: Path, kills: int, size: int) -> None:
    """Kill the process while two clients write and send; what they were told is on the disk is there."""
    told: dict[str, bytes] = {}
    chance = random.Random(seed := random.randrange(1 << 30))
    print("seed", seed)
    end = threading.Event()

    def write(number: int) -> None:
        with host.client() as mine:
            count = 0
            while not end.is_set():
                path, data = f"work/kill-{number}-{count}", random.Random(count).randbytes(size)
                with contextlib.suppress(CallError):
                    if number:
                        mine.call(FILES, "write", path, data, timeout_s=10)
                    elif not put(mine, path, data)["done"]:
                        continue
                    told[path.partition("/")[2]] = data
                count += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            before = len(told)
            pid = pid_of(host)
            while len(told) < before + 5:
                time.sleep(0.005)
            time.sleep(chance.random() * 0.02)  # at any point of a write
            os.kill(pid, signal.SIGKILL)
            host.until(partial(is_another, pid), "another process")
    finally:
        end.set()
        for thread in threads:
            thread.join()
    print("acknowledged:", len(told))
    assert len(told) >= 5 * kills
    for name, data in told.items():
        assert (trees / "work" / name).read_bytes() == data
    sizes = {path.stat().st_size for path in (trees / "work").glob("kill-*")}
    assert sizes == {size}, "no half of a file has a name"


def pid_in(status: dict[str, Any]) -> int | None:
    [loop] = [loop for loop in status["loops"] if loop["name"] == PROCESS]
    return loop["pid"] if loop["state"] == "active" else None


def is_another(pid: int, status: dict[str, Any]) -> bool:
    return pid_in(status) not in (None, pid)


def pid_of(host: RunningHost) -> int:
    pid = pid_in(host.status())
    assert pid is not None
    return pid


def test_a_tree_that_is_removed_is_away_and_the_others_go_on(client: Client, trees: Path) -> None:
    shutil.rmtree(trees / "shown")
    with pytest.raises(Unavailable, match="its folder is not there"):
        client.call(FILES, "list", "shown")
    assert client.call(FILES, "write", "work/after", "x") == 1


def test_figures_and_no_refused_call(host: RunningHost, client: Client) -> None:
    data = bytes(4096)
    until_counted(client)
    client.call(FILES, "write", "work/figure", data)
    for method, more in [("read", ()), ("write", (data,)), ("stat", ()), ("append", (b"x",))]:
        took = []
        for _ in range(200):
            began = time.perf_counter()
            client.call(FILES, method, "work/figure", *more)
            took.append(1000 * (time.perf_counter() - began))
        cuts = statistics.quantiles(took, n=100)
        print(f"{method}: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
    process = psutil.Process(pid_of(host))
    memory = process.memory_full_info()
    print(f"memory: {memory.uss / MIB:.1f} MiB of its own, {memory.rss / MIB:.1f} MiB resident")
    status = host.status()
    [loop] = [loop for loop in status["loops"] if loop["name"] == PROCESS]
    assert loop["violations"] == 0
