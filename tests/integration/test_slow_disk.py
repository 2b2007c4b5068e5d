"""A slow disk of the authority makes what waits for it late: it turns no client away and accuses none."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost

from tlsrt import Client as TlsClient
from tlsrt.channels.client.lock import unlock_host
from tlsrt.supervisor.control.client import ControlClient

CLIENTS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
SYNC_MS = 260  # each sync: what used to be too slow for a record that has to be written first
LATE_S = 60.0  # an upper bound for a loaded machine
# The threads that write for the authority wait before each sync, as long as a page says that the test shares with them.
PRELUDE = """
import mmap, os, threading, time
_page = os.open({path!r}, os.O_RDWR)
_sync_ms = mmap.mmap(_page, 4096)
os.close(_page)
def _slow(sync):
    def wait_and_sync(descriptor):
        if threading.current_thread().name in ("audit", "state"):
            time.sleep(int.from_bytes(_sync_ms[:4], "little") / 1000)
        sync(descriptor)
    return wait_and_sync
os.fsync, os.fdatasync = _slow(os.fsync), _slow(os.fdatasync)
"""


class SlowHost(RunningHost):
    """A host whose authority has a disk that the test makes slow."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(4096)
            self._sync_ms = mmap.mmap(file.fileno(), 4096)
            self._file = os.dup(file.fileno())
        path = f"/proc/{os.getpid()}/fd/{self._file}"
        super().__init__(
            clients=CLIENTS, policy={"client/* -> */*": "*"}, prelude=LatePrelude(PRELUDE.format(path=path)),
            may={"one": ["unlock"]},
        )  # fmt: skip

    def close(self) -> None:
        super().close()
        os.close(self._file)

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        with ControlClient(self.config.run_dir) as client:
            return client.ask(verb, timeout_s=LATE_S, **fields)

    @contextmanager
    def slow(self, milliseconds: int) -> Iterator[None]:
        """Let each sync take so long."""
        self._sync_ms[:4] = milliseconds.to_bytes(4, "little")
        try:
            yield
        finally:
            self._sync_ms[:4] = bytes(4)

    def let_in(self, name: str) -> float:
        """Open a session and call; return how long that took."""
        began = time.monotonic()
        with TlsClient(self.bundle(name)) as client:
            client.call("secondary/store", "keys")
        return time.monotonic() - began


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[SlowHost]:
    failed = request.session.testsfailed
    with SlowHost() as host:
        yield host
        if request.session.testsfailed > failed:
            host.print_logs()


def test_every_client_gets_in_late_and_nothing_is_held_against_it(host: SlowHost) -> None:
    with host.slow(SYNC_MS), ThreadPoolExecutor(len(CLIENTS)) as pool:
        took = [*pool.map(host.let_in, CLIENTS)]
    assert len(took) == len(CLIENTS) and max(took) < LATE_S
    assert min(took) > SYNC_MS / 1000, "the disk was not slow"
    assert host.ask("anomalies")["scores"] == []
    names = {json.loads(line)["name"] for line in host.told('"session_opened"').splitlines()}
    assert not {"client_refused", "response", "over_budget"} & names


def test_operators_commands_and_an_unlock_succeed_late(host: SlowHost) -> None:
    rules = [["secondary/store", ["get"]]]
    with host.slow(SYNC_MS):
        added = host.ask(
            "client_add", name="phone", rules=rules, ttl_ms=3_600_000, http=False, code_key="09" + "00" * 31
        )
        assert added["rows"][0][0] == "code"
        revoked = host.ask("revoke", kind="client", what="two", for_ms=0)
        assert revoked["stored"], "a revocation is answered when it is on the disk"
        assert host.ask("restore", kind="client", what="two")["stored"]
        assert host.ask("lock", reason="a test")["lock"]["stored"]
        assert host.ask("unlock")["serves"]
        host.ask("lock", reason="again")
        asyncio.run(unlock_host(host.bundle("one")))
        assert host.let_in("two") < LATE_S


def test_a_disk_that_takes_seconds_lets_a_client_in_as_well(host: SlowHost) -> None:
    with host.slow(2_500):
        assert host.let_in("three") < LATE_S


def test_a_lock_beside_an_unlock_that_waits_for_the_disk_stays(host: SlowHost) -> None:
    host.ask("lock", reason="a test")
    host.until(lambda document: host.loop("primary")["state"] == "active", "the door of a locked host")
    with ThreadPoolExecutor(1) as pool, host.slow(1_000):
        unlocking = pool.submit(host.ask, "unlock")
        while not unlocking.running():
            pass
        for _ in range(3):
            assert host.ask("lock", reason="again")["lock"] is not None  # each is answered when it is on the disk
        unlocking.result(LATE_S)
    assert host.status()["lock"] is not None, "what was acknowledged last holds"
    asyncio.run(unlock_host(host.bundle("one")))  # the door of the last lock answers
    assert host.let_in("two") < LATE_S
