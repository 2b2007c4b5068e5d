"""A walk: a host that is talked to all the time, while the faults of a plan happen to it one after the other."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaotic.notes import Notes, monotonic_ms  # type: ignore[import-not-found]
from hosts.reloading_host import edit

from chaos.checker import check, figures
from chaos.host import ChaosHost
from chaos.leaks import copies, held, left, more
from chaos.ledger import Ledger, read_ledger
from chaos.plan import Fault, make_plan
from chaos.trap import Blind, repetitions
from tlsrt import Client, NotFound
from tlsrt.config import pki
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.control.client import ControlClient

RECOVERED_S = 30.0  # generous: a loaded machine is no finding
GONE_S = 1.0
EX_CONFIG = 78
REST_S = 1.5


def pause(seconds: float) -> None:
    select.select([], [], [], seconds)


class Walk:
    """One walk over a host that is up. `say` gets a line of progress now and then."""

    def __init__(self, host: ChaosHost, seed: int, lasts_s: float, say: Callable[[str], None] = print) -> None:
        self._host, self._seed, self._lasts_s, self._say = host, seed, lasts_s, say
        self._notes = Notes(host.ledger / "walk.jsonl")
        self._findings = 0
        self._done = 0

    def run(self) -> tuple[Ledger, list[str]]:
        """Walk to the end, stop the host, and judge; return the ledger and what was found."""
        host = self._host
        self._recovered("the start")
        self._before = held(host)
        host.begin_outside()
        plan = make_plan(self._seed, int(self._lasts_s * 1000))
        began = said = time.monotonic()
        for number, fault in enumerate(plan):
            pause(max(0.0, began + fault.at_ms / 1000 - time.monotonic()))
            self._happen(number, fault)
            if time.monotonic() - began > self._lasts_s:
                break
            if time.monotonic() - said >= 10:
                said = time.monotonic()
                self._say(
                    f"{said - began:6.0f} s, {number + 1} of {len(plan)} faults, {self._findings} findings so far"
                )
        self._finish()
        ledger = read_ledger(host.ledger)
        return ledger, [*check(ledger), *self._repeated()]

    # -- what happens ------------------------------------------------------------------------------------------

    def _happen(self, number: int, fault: Fault) -> None:
        self._notes.write("fault", number, fault.name, fault.target, monotonic_ms())
        chance = random.Random(fault.draw)
        try:
            note = getattr(self, f"_{fault.name}", self._broken_inside)(fault, chance)
            if chance.random() < 0.5 or fault.target == "host":
                self._recovered(f"fault {number}, {fault.name} of {fault.target}")
        except (AssertionError, TlsrtError, OSError) as error:
            self._find(f"fault {number}, {fault.name} of {fault.target}: {type(error).__name__}: {error}")
            self._again()
            note = None
        self._notes.write("done", number, monotonic_ms(), note)
        self._done += 1

    def _find(self, sentence: str) -> None:
        self._findings += 1
        self._say(f"found: {sentence[:2000]}")
        self._notes.write("finding", sentence)
        with (self._host.ledger / "consoles.txt").open("a") as file:
            file.write(f"-- at {monotonic_ms()}, {sentence}\n{self._host.output.transcript()}\n")

    def _again(self) -> None:
        """After a finding, have a host in any case."""
        host = self._host
        if host.process is None or host.process.poll() is not None:
            if host.process is not None:
                host.after_death()
            host.start()

    def _pid(self, name: str) -> int | None:
        self._host._note_processes()
        return self._host.pids().get(name)

    def _signal(self, name: str, number: signal.Signals) -> int | None:
        pid = self._pid(name)
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return None
        return pid

    def _kill(self, fault: Fault, chance: random.Random) -> None:
        self._signal(fault.target, signal.SIGKILL)

    def _stop(self, fault: Fault, chance: random.Random) -> None:
        self._signal(fault.target, signal.SIGSTOP)

    def _pause(self, fault: Fault, chance: random.Random) -> None:
        pid = self._signal(fault.target, signal.SIGSTOP)
        pause(chance.uniform(0.1, 0.8))
        if pid is not None:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                return

    def _broken_inside(self, fault: Fault, chance: random.Random) -> None:
        self._host.tell(fault.target, fault.name)

    def _disk_full(self, fault: Fault, chance: random.Random) -> str:
        cradle = self._host.cradle
        if cradle is None:
            return "no disk of its own without root"
        cradle.fill()
        try:
            pause(chance.uniform(0.5, 3.0))
        finally:
            cradle.free()
        return "filled and freed"

    def _epoch(self, fault: Fault, chance: random.Random) -> Any:
        """Change the policy, which ends the epoch without grace."""

        def toggle(document: dict[str, Any]) -> None:
            rule = "client/three -> forth/power"
            if document["policy"].pop(rule, None) is None:
                document["policy"][rule] = ["status"]

        edit(self._host, toggle)
        with ControlClient(self._host.config.run_dir) as client:
            return client.ask("reload")

    def _command(self, *words: str) -> str:
        """Run a command of the operator; the host may be in the middle of anything, so it may refuse, in sentences."""
        done = self._host.cli(*words)
        if "Traceback" in done.stderr or done.returncode not in (0, 3, 69, EX_CONFIG):
            self._find(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return (done.stdout or done.stderr).strip()

    def _rotate(self, fault: Fault, chance: random.Random) -> str:
        return self._command("rotate")

    def _rotate_master(self, fault: Fault, chance: random.Random) -> str:
        """Change the master key; the admin hears of it, as whoever misses too many needs a new bundle."""
        said = self._command("rotate", "--master")
        try:
            with Client(self._host.folder / "admin.tlsrt") as client:
                client.call("secondary/store", "describe", timeout_s=20)
        except TlsrtError as error:
            return f"{said}; the admin has not heard of it: {error}"
        return said

    def _certificate(self, fault: Fault, chance: random.Random) -> str:
        """Put another certificate of the same names there, now and then with the key of a third one."""
        host, now = self._host, datetime.now(UTC)
        ca = pki.Issued((host.folder / "ca.crt").read_bytes(), (host.folder / "ca.key").read_bytes())
        made, other = (pki.issue_server(ca, host.config.install_id, "127.0.0.1", now) for _ in range(2))
        before = {name: (host.folder / name).read_bytes() for name in ("server.crt", "server.key")}
        is_bad = chance.random() < 0.3
        (host.folder / "server.crt").write_bytes(made.certificate_pem)
        (host.folder / "server.key").write_bytes((other if is_bad else made).key_pem)
        said = self._command("reload")
        if is_bad:
            for name, data in before.items():
                (host.folder / name).write_bytes(data)
        return said

    def _revoke_all(self, fault: Fault, chance: random.Random) -> str:
        return self._command("revoke", "--all")

    def _step_wall(self, fault: Fault, chance: random.Random) -> None:
        """To somewhere between a few minutes ago, when the certificates were made, and a month ahead."""
        clock = self._host.clock
        clock.step_wall(int(chance.uniform(-240_000, 30 * 86_400_000)) - clock.wall_ms)

    def _suspend(self, fault: Fault, chance: random.Random) -> None:
        self._host.clock.suspend(int(chance.uniform(1_000, 200_000)))

    def _drop_client(self, fault: Fault, chance: random.Random) -> None:
        self._host.drop_client()

    def _kill_supervisor(self, fault: Fault, chance: random.Random) -> float:
        took = self._host.kill_supervisor()
        if took > 5 * GONE_S:
            self._find(f"{took:.3f} s after the supervisor was killed, a process of it was still there")
        self._host.start()
        return took

    def _restart(self, fault: Fault, chance: random.Random) -> None:
        self._stop_host()
        self._host.start()

    def _stop_host(self) -> None:
        for sentence in stopped(self._host):
            self._find(sentence)

    def _torn_state(self, fault: Fault, chance: random.Random) -> str:
        """Kill the host, leave a file of its state half written, and start."""
        self._host.kill_supervisor()
        kind = chance.choice(sorted(TEARS))
        return f"{kind}: {start_torn(self._host, kind, chance.random())}"

    # -- and afterwards ----------------------------------------------------------------------------------------

    def _recovered(self, what: str) -> None:
        """Wait until everything runs again, one of each."""
        try:
            recovered(self._host)
        except AssertionError as error:
            self._find(f"after {what} it did not recover: {error}")

    def _finish(self) -> None:
        host = self._host
        self._recovered("the last fault")
        errors = host.end_outside()
        if errors:
            self._find(errors)
        pause(REST_S)
        self._recovered("the walk")
        host.quiet()
        for sentence in (*copies(host), *leaked(host, self._before)):
            self._find(sentence)
        read_store(host)
        self._stop_host()
        self._notes.close()

    def _repeated(self) -> list[str]:
        try:
            self.sealed, again = repetitions(sorted(self._host.ledger.glob("*.trap")))
        except Blind as error:
            return [str(error)]
        return [f"a nonce was used twice under one key (pair {pair})" for pair in again]

    def summary(self, ledger: Ledger) -> str:
        lines = [f"seed {self._seed}: {self._done} faults, {self.sealed} messages sealed"]
        for kind, outcomes in sorted(figures(ledger).items()):
            lines.append(f"  {kind:7} {sum(outcomes.values()):7}  {dict(outcomes.most_common())}")
        return "\n".join(lines)


def read_store(host: ChaosHost) -> None:
    """Read every key that anybody ever tried to write, and write down what is there; nobody may write meanwhile."""
    keys = {call.key for call in read_ledger(host.ledger).calls if call.kind == "put"}
    notes = Notes(host.ledger / "store.jsonl")
    with Client(host.admin) as client:
        for key in sorted(keys):
            try:
                version = client.call("secondary/store", "get", key)
            except NotFound:
                version = None
            notes.write("final", key, version)
    notes.close()


def is_whole(document: dict[str, Any]) -> bool:
    """Tell whether everything runs, the learner too: a host without calls has none, but here they never end."""
    loops, learner = document["loops"], document["learner"]
    return bool(
        learner and learner["state"] == "active"
        and document["authority"]["pid"] and document["authority"]["state"] == "active"
        and all(loop["state"] == "active" and loop["health"] != "dead" for loop in loops)
    )  # fmt: skip


def recovered(host: ChaosHost, timeout_s: float = RECOVERED_S) -> None:
    """Wait until everything runs and does not hang: each has beaten since, and answers a call."""
    host.until(is_whole, "that all runs", timeout_s=timeout_s)


def leaked(host: ChaosHost, before: dict[str, Counter[str]], timeout_s: float = 5.0) -> list[str]:
    """Return what processes hold more than before, and do not let go within a while: who asks is a client, too."""
    limit = time.monotonic() + timeout_s
    while (found := more(before, held(host))) and time.monotonic() < limit:
        pause(0.1)
    return found


def stopped(host: ChaosHost) -> list[str]:
    """Stop a host in order; return what is left of it."""
    code = host.stop()
    found = left(host)
    return [f"the host ended with {code}", *found] if code else found


# -- half-written files --------------------------------------------------------------------------------------------


def _cut(data: bytes, draw: float) -> bytes:
    return data[: int(len(data) * draw)]


def _flip(data: bytes, draw: float) -> bytes:
    at = int(len(data) * draw)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


STATE = "authority/authority.state"
WAL = "secondary/store/store.sqlite-wal"
# What a crash, or a disk that lies, may leave: the file, what becomes of it, and whether a start may go on with it.
TEARS: dict[str, tuple[str, Callable[[bytes, float], bytes], bool]] = {
    "state_cut": (STATE, _cut, False),
    "state_flipped": (STATE, _flip, False),
    "state_empty": (STATE, lambda data, draw: b"", False),
    "new_left": (STATE + ".new", lambda data, draw: os.urandom(int(4096 * draw)), True),
    "log_grown": (WAL, lambda data, draw: data + os.urandom(int(8192 * draw)), True),
}


def state_file(host: ChaosHost, name: str) -> Path:
    """Return a file of a host's state, as it is reached from outside."""
    return (host.cradle.disk if host.cradle is not None else host.state) / name


def start_torn(host: ChaosHost, kind: str, draw: float) -> str:
    """Tear a file and start: it must start, or refuse with one sentence, and start with the file put back."""
    said = "started" if TEARS[kind][2] else refuse_torn(host, kind, draw)
    if TEARS[kind][2]:
        tear(host, kind, draw)
    host.start()
    return said


def tear(host: ChaosHost, kind: str, draw: float) -> bytes:
    """Tear a file of a host that does not run; return what it was."""
    name, change, _ = TEARS[kind]
    path = state_file(host, name)
    whole = path.read_bytes() if path.exists() else b""
    path.write_bytes(change(whole, draw))
    return whole


def refuse_torn(host: ChaosHost, kind: str, draw: float) -> str:
    """Tear a file, start, and put it back; return the one sentence of the refusal."""
    whole = tear(host, kind, draw)
    try:
        return refusal(host)
    finally:
        state_file(host, TEARS[kind][0]).write_bytes(whole)


def refusal(host: ChaosHost) -> str:
    """Start what must not start; return its one sentence."""
    errors = host.base / "errors"
    before = errors.stat().st_size if errors.exists() else 0
    try:
        host.start()
    except AssertionError:
        code = host.after_death()
        said = errors.read_text()[before:]
        assert code == EX_CONFIG, f"it ended with {code} instead of {EX_CONFIG}: {said}"
        assert len(said.splitlines()) == 1 and not re.search("Traceback", said), f"not one sentence: {said}"
        return said.strip()
    raise AssertionError("it started with a damaged state")
