"""Attacked sentence: a captured loop reaches no file, process, socket, lock or network outside its profile.

An attacker's script runs inside a real loop of a running host, in each of the five, as root and as a user without
rights, and tries everything of `captured/reach.py`. What must come of it stands in reach.yaml; that needs a supervisor
that lets it go on trying, which a real one does not, as the last tests show.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from attackers.loop_scripts import SCRIPTS, decoys, scripted, world
from hosts.running_host import RunningHost
from probes.sandbox_runner import MODES

from tlsrt import Client, OutcomeUnknown, Unavailable
from tlsrt.supervisor.process.instance_lock import AlreadyRunning, take_lock

TABLE: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("reach.yaml").read_text())
ENDS = {
    "primary": "process_vm_readv", "primary.facts": "process_vm_readv", "secondary": "pidfd_getfd", "third": "ptrace",
    "forth": "kcmp", "external": "process_vm_writev",
}  # fmt: skip


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from scripted(request, request.param, patient=True)


@pytest.fixture(scope="module", params=MODES)
def strict(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from scripted(request, request.param)


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Client:
    return host.client()


@pytest.fixture(scope="module")
def known(host: RunningHost) -> Iterator[dict[str, Any]]:
    with decoys(host) as decoy:
        yield world(host, decoy)


def wanted(row: str, loop: str, mode: str) -> Any:
    entry = TABLE[row]
    special = entry.get("rootless", {}) if mode == "rootless" else {}
    found = special.get(loop, entry.get(loop, entry["all"]))
    return [one.replace("LOOP", loop) for one in found] if isinstance(found, list) else found


@pytest.mark.parametrize("row", list(TABLE))
@pytest.mark.parametrize("loop", list(SCRIPTS))
def test_every_try_ends_as_the_table_says(
    host: RunningHost, client: Client, known: dict[str, Any], loop: str, row: str
) -> None:
    found = client.call(SCRIPTS[loop], "attempt", row, known, timeout_s=30)
    assert found == wanted(row, loop, host.mode)


def test_no_try_has_changed_anything(host: RunningHost, client: Client, known: dict[str, Any]) -> None:
    """After all of it: no process was restarted or is slowed, every file is there, and the start lock is held."""
    for pid in host.pids().values():
        assert os.sched_getaffinity(pid) == os.sched_getaffinity(os.getpid())
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert restarts(host.status()) == dict.fromkeys(SCRIPTS, 0)
    assert host.status()["supervisor"]["fork_server"] == known["pids"]["fork_server"]
    assert all(Path(path).exists() for path in known["files"].values())
    with pytest.raises(AlreadyRunning):
        take_lock(host.config.state_dir / "lock", wait_s=0.0)
    for address in SCRIPTS.values():
        assert client.call(address, "poke", 7) == 7


@pytest.mark.parametrize("loop", [loop for loop in SCRIPTS if loop != "primary"])
def test_reaching_into_another_process_ends_the_loop_and_nothing_else(
    host: RunningHost, client: Client, known: dict[str, Any], loop: str
) -> None:
    before, pids = len(host.console), host.pids()
    with pytest.raises(OutcomeUnknown):
        client.call(SCRIPTS[loop], "attempt", ENDS[loop], known, timeout_s=30)
    died = host.wait_for(rf"^{loop} +died ", after=before)
    assert re.search(rf"violation: {ENDS[loop]}\(", died)
    host.wait_for(rf"^{loop} +active ", after=before)
    assert {name for name, pid in host.pids().items() if pid != pids[name]} == {loop}
    assert client.call(SCRIPTS[loop], "poke", 7) == 7


def test_a_loop_that_goes_on_trying_is_ended(strict: RunningHost) -> None:
    """One after the other; the word of the authority about one may come when the next has begun."""
    tried: set[str] = set()
    for loop in SCRIPTS:
        tried.add(loop)
        limit = time.monotonic() + 60
        while not restarts(strict.status())[loop]:  # that word may end Primary once more, and this call with it
            assert time.monotonic() < limit
            with decoys(strict) as decoy, pytest.raises((OutcomeUnknown, Unavailable)):
                strict.client().call(SCRIPTS[loop], "attempt", "signals", world(strict, decoy), timeout_s=30)
        after = strict.until(lambda document: restarts(document)[loop] > 0, f"the next {loop}")  # noqa: B023
        assert {name for name, count in restarts(after).items() if count} == tried
        strict.until(lambda document: active(document)[loop], f"an active {loop}")  # noqa: B023
        assert re.search("more than 64 refused calls|anomaly: score", strict.loop(loop)["last_death"]["sentence"])


def restarts(document: dict[str, Any]) -> dict[str, int]:
    return {loop["name"]: loop["restarts"] for loop in document["loops"]}


def active(document: dict[str, Any]) -> dict[str, bool]:
    return {loop["name"]: loop["state"] == "active" for loop in document["loops"]}
