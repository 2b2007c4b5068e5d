"""The secrets service on a disk that is full, slow, or refuses: nothing acknowledged is lost, and each is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from attackers.bad_disk import bad_disk, can_mount
from attackers.unkillable import can_freeze, frozen_disk
from hosts.running_host import RunningHost

from tlsrt.errors import Failed, NotFound, OutcomeUnknown
from tlsrt.loops.secondary.secrets import Secrets
from tlsrt.testing import running_sync

SECRETS = "secondary/secrets"
PROCESS = "secondary.secrets"
NEEDS = {"state_mb": 8, "secrets": [{"name": "root", "why": "it seals"}]}
freezes = pytest.mark.skipif(not can_freeze(), reason="takes root and a loop device")
mounts = pytest.mark.skipif(not can_mount(), reason="takes root and /dev/fuse")


class DiskHost:
    """A host whose secrets service has its state on a small disk of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self.host = RunningHost(mode="root")
        stack.callback(self.host.close)
        self.folder = self.host.config.state_dir / PROCESS
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.freeze, self.thaw = stack.enter_context(frozen_disk(self.folder))
        stack.callback(self.host.stop)  # before the disk goes
        self.host.start()
        self.host.cli("component", "add", SECRETS, "--yes")
        made = self.host.cli("secret", "make", SECRETS, "root")
        assert "was started anew with it" in made.stdout, made.stderr


@pytest.fixture(scope="module")
def disk(request: pytest.FixtureRequest) -> Iterator[DiskHost]:
    failed = request.session.testsfailed
    with ExitStack() as stack:
        made = DiskHost(stack)
        yield made
        if request.session.testsfailed > failed:
            made.host.print_logs()


def fill(folder: Path) -> Path:
    """Take all room of a disk; return the file that has it."""
    descriptor = os.open(folder / "filler", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while True:
                    os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)
    return folder / "filler"


def until_refused(call: Callable[[], object]) -> str:
    """Make a call until it is refused; return the sentence."""
    for _ in range(2000):
        try:
            call()
        except Failed as error:
            return error.message
    raise AssertionError("it was never refused")


@freezes
def test_on_a_full_disk_nothing_is_changed_or_read_and_names_are_told(disk: DiskHost) -> None:
    with disk.host.client() as client:
        client.upload(SECRETS, "put", b"before", "a")
        filler = fill(disk.folder)
        refused = until_refused(lambda: client.upload(SECRETS, "put", b"x" * 60_000, "a"))  # the log has some room left
        assert "nothing was changed" in refused
        found = client.call(SECRETS, "names")
        assert [each["name"] for each in found] == ["a"]
        assert "nothing was changed" in until_refused(lambda: client.call(SECRETS, "get", "a"))
        filler.unlink()
        version = client.call(SECRETS, "names")[0]["version"]
        assert client.call(SECRETS, "get", "a")["version"] == version
        assert client.upload(SECRETS, "put", b"after", "a")["version"] > version
    assert disk.host.loop(PROCESS)["restarts"] <= 1, "the one with its root"


@freezes
def test_on_a_disk_that_does_not_answer_answers_come_late_and_nothing_is_restarted(disk: DiskHost) -> None:
    host, before, after = disk.host, disk.host.loop(PROCESS), len(disk.host.console)
    answers: list[dict[str, Any]] = []
    with host.client() as client, host.client() as other:
        late = threading.Thread(
            target=lambda: answers.append(client.upload(SECRETS, "put", b"late", "late", timeout_s=60))
        )
        disk.freeze()
        try:
            late.start()
            host.wait_for(rf"^{PROCESS} +disk +waits for its disk since ", after=after)
            assert other.call(SECRETS, "describe", timeout_s=15)
            assert not answers
        finally:
            disk.thaw()
        late.join(60)
        assert other.call(SECRETS, "get", "late")["version"] == answers[0]["version"]
    assert host.loop(PROCESS)["incarnation"] == before["incarnation"]


@mounts
@pytest.mark.parametrize("seed", [1, 2])
def test_a_disk_that_fails_at_random_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    folder, behind = tmp_path / "disk", tmp_path / "behind"
    folder.mkdir()
    behind.mkdir()
    acknowledged: dict[str, bytes] = {}
    unknown: dict[str, set[bytes]] = {}
    refused = 0
    with bad_disk(folder, behind, seed) as bad:
        with service(folder) as it:
            bad.fail(chance=0.03)
            for number in range(300):
                name, value = f"n{number % 50}", os.urandom(20)
                try:
                    it.upload("put", value, name, kind="bytes")
                except OutcomeUnknown:
                    unknown.setdefault(name, set()).add(value)
                except Failed:  # then nothing was changed
                    refused += 1
                else:
                    acknowledged[name], unknown[name] = value, set()
            bad.fail()
            look(it, acknowledged, unknown)
        assert refused and len(acknowledged) > 20
    with service(behind) as it:
        look(it, acknowledged, unknown)
        assert it.run(it.component.healthy()) is None


def service(folder: Path) -> Any:
    return running_sync(
        Secrets, options={"witness": False}, state=folder, address=SECRETS, needs=NEEDS, secrets={"root": bytes(32)}
    )


def look(it: Any, acknowledged: dict[str, bytes], unknown: dict[str, set[bytes]]) -> None:
    for name, value in acknowledged.items():
        assert it.call("get", name)["value"] in {value, *unknown[name]}, name
    for name in set(unknown) - set(acknowledged):
        try:
            assert it.call("get", name)["value"] in unknown[name]
        except NotFound:
            continue
