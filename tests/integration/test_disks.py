"""Disks that do not answer: no loop dies, nothing is lost, what needs no disk is served, and the operator is told.

A frozen disk (FIFREEZE) is the real thing: who writes to it waits in state D until the thaw, as on a disk that stalls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from attackers.bad_disk import bad_disk, can_mount
from attackers.unkillable import can_freeze, frozen_disk
from fakes.store_bench import StoreBench
from hosts.running_host import RunningHost

from tlsrt.errors import CallError, Failed, NotFound, OutcomeUnknown
from tlsrt.supervisor.process.disk_wait import disk_wait_of

freezes = pytest.mark.skipif(not can_freeze(), reason="takes root and a loop device")
mounts = pytest.mark.skipif(not can_mount(), reason="takes root and /dev/fuse")
STORE, FILES, WRITER = "secondary/store", "third/io", "third/writer"
FROZEN_S = 4.0  # more than twice what an event loop may be silent


class FrozenDisks:
    """A host whose loops secondary and third have their state on disks that can be frozen."""

    def __init__(self, stack: ExitStack) -> None:
        self.host = RunningHost(
            mode="root", packages=[PACKAGE],
            components={WRITER: {"class": "captured.writer:Writer", "process": "shared"}},
            policy={f"client/admin -> {address}": "*" for address in (STORE, FILES, WRITER)},
        )  # fmt: skip
        stack.callback(self.host.close)
        self._freeze: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {}
        for loop in ("secondary", "third"):
            folder = self.host.config.state_dir / loop
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._freeze[loop] = stack.enter_context(frozen_disk(folder))
        stack.callback(self.host.stop)  # before the disks go
        self.host.start()

    def loop(self, name: str) -> dict[str, Any]:
        return next(entry for entry in self.host.status()["loops"] if entry["name"] == name)

    def while_frozen(self, loop: str, call: Callable[[], object], look: Callable[[], None]) -> object:
        """Freeze a disk, begin a call that needs it, look around for `FROZEN_S`; return what the call gave."""
        freeze, thaw = self._freeze[loop]
        answers: list[object] = []

        def run() -> None:
            try:
                answers.append(call())
            except CallError as error:
                answers.append(error)

        thread = threading.Thread(target=run)
        freeze()
        try:
            end = time.monotonic() + FROZEN_S
            thread.start()
            look()
            while time.monotonic() < end:
                time.sleep(0.05)
            assert not answers, "it was answered without the disk"
        finally:
            thaw()
        thread.join(30)
        return answers[0]


@pytest.fixture(scope="module")
def frozen(request: pytest.FixtureRequest) -> Iterator[FrozenDisks]:
    failed = request.session.testsfailed
    with ExitStack() as stack:
        disks = FrozenDisks(stack)
        yield disks
        if request.session.testsfailed > failed:
            disks.host.print_logs()


@freezes
@pytest.mark.parametrize("loop", ["secondary", "third"])
def test_a_disk_that_does_not_answer_is_no_death_and_what_needs_no_disk_is_served(
    frozen: FrozenDisks, loop: str
) -> None:
    host, before, after = frozen.host, frozen.loop(loop), len(frozen.host.console)
    client, other = host.client(), host.client()
    client.call(STORE, "put", "known", 7)

    def change() -> object:
        return client.call(STORE, "put", "late", 8) if loop == "secondary" else client.call(FILES, "write", "late", "x")

    def look() -> None:
        host.wait_for(rf"^{loop} +disk +waits for its disk since 1\.[0-9] s; it serves what needs no disk", after=after)
        if loop == "secondary":  # a wait for the disk would last until it is thawed, after this
            assert other.call(STORE, "get", "known", timeout_s=15) == 7
        else:
            assert other.call(FILES, "notify", "info", "the disk is slow", timeout_s=15) >= 1
        assert other.call(STORE if loop == "secondary" else FILES, "describe", timeout_s=15)
        found = frozen.loop(loop)
        assert found["disk_wait"]["for_s"] >= 1 and found["health"] == "good" and found["state"] == "active"
        assert f"{loop} waits for its disk, for " in host.cli("status").stdout

    answer = frozen.while_frozen(loop, change, look)
    assert answer == ({"revision": 2} if loop == "secondary" else 1)
    host.wait_for(rf"^{loop} +disk +its disk answers again, after ", after=after)
    found = frozen.loop(loop)
    assert (found["incarnation"], found["restarts"], found["disk_wait"]) == (before["incarnation"], 0, None)
    assert not any(entry["anomaly"] for entry in host.status()["loops"])
    if loop == "secondary":
        assert client.call(STORE, "get", "late") == 8


@freezes
def test_an_event_loop_that_the_kernel_holds_for_its_disk_is_no_death_either(frozen: FrozenDisks) -> None:
    """A component of an operator that writes in its handlers."""
    host, before, after = frozen.host, frozen.loop("third"), len(frozen.host.console)

    def look() -> None:
        host.wait_for(r"^third +disk +waits for its disk since [0-9.]+ s; its event loop waits too \(D", after=after)
        assert frozen.loop("third")["disk_wait"]["where"].startswith("D")

    with host.client() as client:
        assert int(str(frozen.while_frozen("third", lambda: client.call(WRITER, "write", timeout_s=60), look))) > 0
    host.wait_for(r"^third +disk +its disk answers again, after ", after=after)
    assert frozen.loop("third")["incarnation"] == before["incarnation"]


def _folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return where a bad disk is mounted, and what is behind it."""
    folder, behind = tmp_path / "disk", tmp_path / "behind"
    folder.mkdir()
    behind.mkdir()
    return folder, behind


@mounts
@pytest.mark.parametrize("seed", [3])
def test_no_acknowledged_put_is_lost_on_a_file_system_that_loses_what_it_could_not_write(
    tmp_path: Path, seed: int
) -> None:
    """A tenth of all writes and syncs fails. Now and then the pages in memory are written, and read again."""
    folder, behind = _folders(tmp_path)
    acknowledged: dict[str, int] = {}
    unknown: dict[str, set[int]] = {}
    revisions: list[int] = []
    with bad_disk(folder, behind, seed) as disk:
        bench = StoreBench(folder)
        descriptor = os.open(folder, os.O_RDONLY)
        disk.fail(chance=0.1)
        for number in range(600):
            key = f"k{number % 100}"
            try:
                revisions.append(bench("put", key, number)["revision"])
            except OutcomeUnknown:
                unknown.setdefault(key, set()).add(number)
            except Failed:  # then nothing was changed
                continue
            else:
                acknowledged[key], unknown[key] = number, set()
            if number % 25 == 0:
                ctypes.CDLL(None).syncfs(descriptor)
                for file in folder.iterdir():
                    file.stat()
        os.close(descriptor)
        disk.fail()
        found = {key: bench("get", key) for key in acknowledged}
        bench.stop()
    assert len(revisions) > 100 and len(set(revisions)) == len(revisions)
    assert not {key: value for key, value in found.items() if value not in {acknowledged[key], *unknown[key]}}
    bench = StoreBench(behind)
    assert bench.healthy() is None and {key: bench("get", key) for key in acknowledged} == found
    bench.stop()


@mounts
@pytest.mark.parametrize(
    ("faults", "told", "trouble"),
    [
        ({"writes": 1.0, "error": errno.ENOSPC}, Failed, None),
        ({"writes": 1.0}, Failed, "values can be read and not changed: the disk refuses"),
        ({"syncs": 1.0}, OutcomeUnknown, "values can be read and not changed: the disk refuses"),
        ({"chance": 1.0}, Failed, "values can be read and not changed: the disk refuses"),
    ],
    ids=["full", "writes", "syncs", "all"],
)
def test_a_disk_that_refuses_changes_takes_no_reads_away_and_is_used_again_when_it_is_well(
    tmp_path: Path, faults: dict[str, Any], told: type[CallError], trouble: str | None
) -> None:
    folder, behind = _folders(tmp_path)
    with bad_disk(folder, behind) as disk:
        bench = StoreBench(folder)
        for number in range(40):
            bench("put", f"k{number}", number)
        bench.stop()
        bench = StoreBench(folder)  # it remembers nothing, so all is read from the disk
        disk.fail(**faults)
        with pytest.raises(told):
            bench("put", "new", 1)
        for number in range(20):
            assert bench("get", f"k{number}") == number
            with pytest.raises(Failed, match="nothing was changed"):
                bench("put", "k0", 7)
            assert trouble is None or trouble in str(bench.healthy())
        assert set(bench("keys", "k")) == {f"k{number}" for number in range(40)}
        if told is OutcomeUnknown:
            with pytest.raises(Failed, match="whether 'new' was changed is not known until the disk answers again"):
                bench("get", "new")
        disk.fail()
        if told is OutcomeUnknown:
            with suppress(NotFound):  # it is known now, and may have been changed or not
                assert bench("get", "new") == 1
        assert bench.healthy() is None, "it is said without anything to write"
        revision = bench("put", "new", 2)["revision"]
        assert bench.healthy() is None and revision in (41, 42)
        bench.stop()
    bench = StoreBench(behind)
    assert bench.healthy() is None and bench("get", "new") == 2 and bench("get", "k0") == 0
    bench.stop()


@mounts
def test_a_store_that_starts_on_a_disk_that_refuses_changes_serves_reads(tmp_path: Path) -> None:
    folder, behind = _folders(tmp_path)
    with bad_disk(folder, behind) as disk:
        bench = StoreBench(folder)
        bench("put", "known", 1)
        bench.stop()
        disk.fail(1.0)
        bench = StoreBench(folder)
        assert bench("get", "known") == 1
        assert "values can be read and not changed: the disk refuses" in str(bench.healthy())
        disk.fail()
        assert bench("put", "known", 2) == {"revision": 2} and bench.healthy() is None
        bench.stop()


@mounts
def test_a_process_that_syncs_over_fuse_waits_for_its_disk_though_it_only_sleeps(tmp_path: Path) -> None:
    folder, behind = _folders(tmp_path)
    program = "import os, sys; os.fsync(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY))"
    with bad_disk(folder, behind) as disk:
        disk.fail(sync_s=0.5)
        with subprocess.Popen([sys.executable, "-c", program, str(folder / "file")]) as child:
            seen = {disk_wait_of(child.pid)}
            while child.poll() is None:
                seen.add(disk_wait_of(child.pid))
                time.sleep(0.01)
    assert "fsync" in seen or any(where.startswith("D") for where in seen)
