"""A loop that is killed and does not end: nobody waits for it, everybody is told, and there is never a second one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from attackers.arena import PACKAGE
from attackers.unkillable import zombie_in
from hosts.running_host import RunningHost

VICTIM, WITNESS = "third/writer", "secondary/writer"


@pytest.fixture
def unkillable(request: pytest.FixtureRequest) -> Iterator[tuple[RunningHost, Callable[[], Callable[[], None]]]]:
    """A host, and what makes its loop `third` hang so that no signal ends it; that returns what lets it go.

    A disk does that too, but what waits for a disk is not killed so soon: see test_disks.py.
    """
    host = RunningHost(
        mode="rootless",
        packages=[PACKAGE],
        components={address: {"class": "captured.writer:Writer", "process": "shared"} for address in (VICTIM, WITNESS)},
        policy={f"client/admin -> {address}": "*" for address in (VICTIM, WITNESS)},
    )
    failed = request.session.testsfailed
    with ExitStack() as stack:
        stack.callback(host.close)
        stack.callback(host.stop)
        host.start()

        def by_a_zombie() -> Callable[[], None]:
            release = zombie_in(host.pids()["third"])
            stack.callback(release)
            host.kill("third", signal.SIGSTOP)
            return release

        yield host, by_a_zombie
        if request.session.testsfailed > failed:
            host.print_logs()


def test_a_loop_that_no_signal_ends_blocks_nobody_and_has_no_second_copy(
    unkillable: tuple[RunningHost, Callable[[], Callable[[], None]]],
) -> None:
    host, hang = unkillable
    before, pid, after = host.loop("third"), host.pids()["third"], len(host.console)
    let_go = hang()
    host.wait_for(r"^third +stuck +killed, but it waits in the kernel \([A-Z]", after=after)
    found = host.until(lambda document: bool(_third(document)["stuck"]), "a stuck loop")
    third = _third(found)
    assert third["pid"] == pid and third["incarnation"] == before["incarnation"] and os.path.exists(f"/proc/{pid}")
    assert third["state"] == "stopping" and third["stuck"]["for_s"] >= 1
    assert f"third is stuck in the kernel ({third['stuck']['where'][0]}" in host.cli("status").stdout
    client = host.client()
    for _ in range(20):  # the others serve as ever
        assert client.call(WITNESS, "write", timeout_s=5) > 0
    assert not [line for line in host.console[after:] if line.startswith("third") and "active" in line]
    let_go()
    host.wait_for(r"^third +died +heartbeat: no beat for 1\.[0-9]+ s", after=after)
    host.wait_for("^third +active ", after=after)
    now = host.until(lambda document: _third(document)["stuck"] is None, "a loop that is not stuck")
    assert _third(now)["incarnation"] > before["incarnation"]
    assert client.call(VICTIM, "write", timeout_s=10) > 0


def _third(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in document["loops"] if entry["name"] == "third")
    return found
