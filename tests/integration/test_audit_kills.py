"""A whole host that is killed at any point, again and again: what it had acknowledged is in its log, which is whole.

A round is known by seed and number: `TLSRT_SEED=7 TLSRT_ROUNDS=120-130 make stress` repeats eleven of them. Files are
small here, so that rotation and retention are killed too.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.late_prelude import LatePrelude
from hosts.running_host import READY_S, RunningHost

from tlsrt import Client
from tlsrt.config import key_schedule
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.audit.open import file_key_of, public_of
from tlsrt.supervisor.audit.record import LogRecord, read_entry_untrusted
from tlsrt.supervisor.audit.removal import HEADS
from tlsrt.supervisor.audit.verify import VerifyReport, verify
from tlsrt.supervisor.control.client import ControlClient

ROUNDS_S = 600  # then it ends, however many there were
SMALL = """
from tlsrt.supervisor.audit import retention, writer
writer.LogWriter.__init__.__kwdefaults__["file_max"] = 6000
_init = retention.Retention.__init__
retention.Retention.__init__ = lambda self, folder, keep_bytes: _init(self, folder, 200_000)
"""


class Asking:
    """Asks for what is recorded first, all the time; `heard` is what was acknowledged."""

    def __init__(self, host: RunningHost) -> None:
        self.host = host
        self.heard: list[tuple[str, str | int]] = []
        self._number = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._until_over, args=(one,)) for one in (self._enter, self._revoke)]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _until_over(self, ask: Callable[[], None]) -> None:
        while not self._over.wait(0.005):
            with suppress(TlsrtError, OSError, EOFError):
                ask()

    def _enter(self) -> None:
        with Client(self.host.bundle("one")) as client:
            self.heard.append(("session", client.session_info["session"]))

    def _revoke(self) -> None:
        with ControlClient(self.host.config.run_dir) as client:
            self._number += 1
            for_ms = 1_000_000 + self._number
            answer = client.ask("revoke", kind="component", what="forth/power", for_ms=for_ms)
            if answer.get("subjects") and not answer.get("unrecorded"):
                self.heard.append(("for_ms", for_ms))


def family(host: RunningHost) -> list[psutil.Process]:
    """Launcher, supervisor, and all that are below it."""
    assert host.process is not None
    launcher = psutil.Process(host.process.pid)
    return [launcher, *launcher.children(recursive=True)]


def kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        process.send_signal(signal.SIGKILL)


def kill_host(host: RunningHost, how: str, chance: random.Random) -> None:
    """Kill it, and see the last process go."""
    known = family(host)
    supervisor = known[1]
    if how == "authority first":
        for process in known:
            with suppress(psutil.NoSuchProcess):
                if process.name() == "authority":
                    kill(process)
        time.sleep(chance.random() * 0.4)  # in the middle of the next one's start
        known += [each for each in family(host) if each not in known]
    elif how == "all at once":
        known = chance.sample(known[1:], len(known) - 1)
        for process in known:
            kill(process)
    kill(supervisor)
    _, alive = psutil.wait_procs(known, 30)
    assert not alive
    launcher, host.process = host.process, None
    assert launcher is not None
    with launcher:
        host.output.read_to_end(launcher, READY_S)
        launcher.wait(30)


class Rounds:
    """One host, and what its log must hold."""

    def __init__(self, host: RunningHost, seed: int) -> None:
        self.host, self.seed = host, seed
        self.folder = host.config.state_dir / "authority" / "audit"
        master = host.config.master_key.path
        assert master is not None
        self.root = key_schedule.audit_root(key_schedule.extract(host.config.install_id, master.read_bytes()))
        self.acknowledged = 0
        self.killed: dict[str, int] = {}
        self.report = VerifyReport()

    def round(self, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        how = chance.choice(("supervisor first", "authority first", "all at once", "at the start"))
        with Asking(self.host) as asking:
            if how == "at the start":
                self.host.start("^(supervisor|authority|primary) ")
            else:
                self.host.start()
            time.sleep(chance.random() * 0.8)
            kill_host(self.host, how, chance)
        self.check(number, asking.heard)
        self.killed[how] = self.killed.get(how, 0) + 1
        self.acknowledged += len(asking.heard)

    def check(self, number: int, heard: list[tuple[str, str | int]], *, must_be_closed: bool = False) -> None:
        files = [(path.name, path.read_bytes()) for path in sorted(self.folder.glob("audit-*.log"))]
        if not files and not self.report.files and not heard:
            return  # killed before its first start had begun a log
        heads = (self.folder / HEADS).read_bytes() if (self.folder / HEADS).exists() else b""
        options: dict[str, Any] = {"heads": heads, "must_be_closed": must_be_closed}
        self.report = verify(files, [public_of(self.root)], file_key=file_key_of(self.root), **options)
        assert self.report.fault is None, f"round {number} of seed {self.seed}: {self.report.fault}"
        alone = verify(files, [public_of(self.root)], **options)
        assert alone == self.report
        said: set[tuple[str, str | int]] = set()
        for _, data in files:
            at = 0
            while (entry := read_entry_untrusted(data, at)) is not None:
                said |= set(entry.value.detail) if isinstance(entry.value, LogRecord) else set()
                at = entry.end
        missing = [each for each in heard if each not in said]
        assert not missing, f"round {number} of seed {self.seed}: acknowledged, and not in the log: {missing}"


def kill_often(first: int, last: int, seed: int) -> str:
    host = RunningHost(clients=["one"], policy={"client/* -> */*": "*"}, prelude=LatePrelude(SMALL))
    try:
        rounds, began, number = Rounds(host, seed), time.monotonic(), first
        for number in range(first, last + 1):
            rounds.round(number)
            if time.monotonic() - began > ROUNDS_S:
                break
        host.start()
        assert host.stop() == 0
        rounds.check(number, [], must_be_closed=True)
        report = rounds.report
        assert rounds.acknowledged > (number - first) // 2
    except BaseException:
        host.print_logs()
        raise
    finally:
        host.close()
    return (
        f"seed {seed}: rounds {first} to {number}, killed {rounds.killed}, {rounds.acknowledged} acknowledged, "
        f"{report.files} files with {report.records} records, {report.gone_records} gone by retention with "
        f"{report.missing_files} files, in {time.monotonic() - began:.0f} s"
    )


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_host_that_is_killed_200_times_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    first, _, last = os.environ.get("TLSRT_ROUNDS", "1-200").partition("-")
    print(kill_often(int(first), int(last or first), int(os.environ.get("TLSRT_SEED", "7"))))
