"""Disks that do not answer: nobody dies, nothing is lost, what needs no disk is served, and everybody is told.

A frozen disk (FIFREEZE) is the real thing: who writes to it waits in state D until the thaw, as on a disk that stalls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from attackers.arena import PACKAGE
from attackers.unkillable import can_freeze, frozen_disk
from hosts.running_host import RunningHost

from tlsrt.errors import CallError

pytestmark = pytest.mark.skipif(not can_freeze(), reason="takes root, a loop device and mke2fs")
STORE, FILES, WRITER = "secondary/store", "third/io", "third/writer"
FROZEN_S = 4.0  # more than twice what an event loop may be silent


class FrozenDisks:
    """A host whose loops secondary and third have their state on disks that can be frozen."""

    def __init__(self, stack: ExitStack) -> None:
        self.host = RunningHost(
            mode="root", packages=[PACKAGE],
            components={WRITER: {"class": "captured.writer:Writer"}},
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
        began = time.monotonic()
        if loop == "secondary":
            assert other.call(STORE, "get", "known", timeout_s=2) == 7
        else:
            assert other.call(FILES, "notify", "info", "the disk is slow", timeout_s=2) >= 1
        assert other.call(STORE if loop == "secondary" else FILES, "describe", timeout_s=2)
        assert time.monotonic() - began < 2
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


def test_an_event_loop_that_the_kernel_holds_for_its_disk_is_no_death_either(frozen: FrozenDisks) -> None:
    """A component of somebody's own that writes in its handlers."""
    host, before, after = frozen.host, frozen.loop("third"), len(frozen.host.console)

    def look() -> None:
        host.wait_for(r"^third +disk +waits for its disk since [0-9.]+ s; its event loop waits too \(D", after=after)
        assert frozen.loop("third")["disk_wait"]["where"].startswith("D")

    with host.client() as client:
        assert int(str(frozen.while_frozen("third", lambda: client.call(WRITER, "write", timeout_s=60), look))) > 0
    host.wait_for(r"^third +disk +its disk answers again, after ", after=after)
    assert frozen.loop("third")["incarnation"] == before["incarnation"]
