"""A host to be broken: five loops that call one another and break when told, on a disk that can be full.

It is an ordinary RunningHost. What is added: the nonce trap and a clock that can be stepped, in every process of it; a
`Cradle` of namespaces around it; and a folder for the ledger, outside the disk that gets full, of which each loop may
write its own part.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hosts.primary_core import component_in, hosted_in_primary
from hosts.running_host import READY_S, RunningHost, uid_base

from chaos.clock import Clock, clock_prelude
from chaos.outside import JOURNALS, STORE
from chaos.plan import LOOPS
from chaos.trap import prelude

HERE = Path(__file__).parent
PACKAGE_PARENT = HERE.parent / "hosts" / "chaos_package"
UID_BASE = uid_base()  # of the authority; the loops follow, and behind these the further processes of loops
UIDS = {loop: UID_BASE + number for number, loop in enumerate((one for one in LOOPS if "." not in one), 1)}
UIDS["primary.facts"] = UID_BASE + 256
CALLERS = ("third", "external")
CLIENTS = ("one", "two", "three")
FILE_MB = 1024
DISK = "16m"
# Faults come much faster than a sane host would have them: it shall neither give up nor wait long.
PATIENT = {"restart": {"first_s": 0.05, "cap_s": 0.5, "healthy_s": 2.0, "deaths": 1000, "window_s": 1.0}}
HOLD = "import sys; print('held', flush=True); sys.stdin.read()"


class Cradle:
    """Namespaces that outlive the host in them: of mounts, with a small disk at `disk`, and of time, if wanted.

    `boottime_s` is added to CLOCK_BOOTTIME and CLOCK_MONOTONIC for what runs in it. Needs root.
    """

    def __init__(self, disk: Path | None = None, *, boottime_s: int = 0) -> None:
        command = ["unshare", "--mount"]
        if boottime_s:
            command += ["--time", "--boottime", str(boottime_s), "--monotonic", str(boottime_s), "--fork"]
        mount = f"mount -t tmpfs -o mode=755,size={DISK} tmpfs '{disk}' && " if disk is not None else ""
        self._holder = subprocess.Popen(
            [*command, "sh", "-c", f"{mount}echo held && exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None and self._holder.stdout.readline() == b"held\n"
        self._disk = disk
        namespaces = f"/proc/{self._holder.pid}/ns"
        self.command = ["nsenter", f"--mount={namespaces}/mnt"]
        if boottime_s:
            self.command.append(f"--time={namespaces}/time_for_children")

    @property
    def disk(self) -> Path:
        """The disk, from outside."""
        return Path(f"/proc/{self._holder.pid}/root{self._disk}")

    def fill(self) -> None:
        """Use up the disk to the last byte."""
        with (self.disk / "filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        (self.disk / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        with self._holder:
            assert self._holder.stdin is not None
            self._holder.stdin.close()  # cat ends, and with the last process the namespaces


class ChaosHost(RunningHost):
    """The host. `callers` are loops whose components call all the time; `extra` is any more YAML."""

    def __init__(
        self, *, callers: Sequence[str] = CALLERS, together: int = 4, extra: dict[str, Any] | None = None,
        prelude_text: str = "", boottime_s: int = 0,
    ) -> None:  # fmt: skip
        self.ledger = Path(tempfile.mkdtemp(prefix="tlsrt-ledger."))
        self.ledger.chmod(0o755)
        self.secret = secrets.token_bytes(16)
        self.clock = Clock(self.ledger / "clock")
        self._boots = 0
        self._text = prelude_text
        self._outside: subprocess.Popen[str] | None = None
        self.cradle: Cradle | None = None
        self._callers = self._talking(callers, together)
        components = {**self._breaking(), **self._callers}
        policy = {
            f"{source} -> {target}": "*"
            for source in [*self._callers, *(f"client/{name}" for name in ("admin", *CLIENTS))]
            for target in (*JOURNALS, STORE)
        }
        super().__init__(
            components=components, policy=policy, clients=CLIENTS, packages=[PACKAGE_PARENT / "chaotic"],
            limits={"epoch_s": 7}, extra={"supervision": PATIENT, **(extra or {})},
        )  # fmt: skip
        self.state = self.config.state_dir
        if os.geteuid() == 0:
            self.state.mkdir(exist_ok=True)
            self.cradle = Cradle(self.state, boottime_s=boottime_s)
            self._witness = self.cradle.command

    def _breaking(self) -> dict[str, Any]:
        """A component in each process that breaks it, and those that write down what runs."""
        made: dict[str, Any] = {}
        for loop in LOOPS:
            folder = self.ledger / loop
            folder.mkdir()
            if os.geteuid() == 0:
                os.chown(folder, UIDS[loop], UIDS[loop])
            needs = {"write": [{"path": str(folder), "why": "the ledger"}], "file_size_mb": FILE_MB}
            options = {"folder": str(folder), "process": loop}
            made[component_in(loop, "faulty")] = {
                "class": "chaotic.faulty:Faulty",
                "process": "shared",
                "options": options,
                "needs": needs,
            }
            if component_in(loop, "journal") in JOURNALS:
                made[component_in(loop, "journal")] = {
                    "class": "chaotic.journal:Journal",
                    "process": "shared",
                    "options": options,
                }
        return made

    def _talking(self, callers: Sequence[str], together: int) -> dict[str, Any]:
        options = {"journals": JOURNALS, "store": STORE, "together": together}
        return {
            f"{loop}/caller": {
                "class": "chaotic.caller:Caller", "process": "shared",
                "options": {**options, "folder": str(self.ledger / loop)},
            }
            for loop in callers
        }  # fmt: skip

    # -- life --------------------------------------------------------------------------------------------------

    def start(self, until: str = "^ready ") -> None:
        self._boots += 1
        trap = self.ledger / f"host-{self._boots:05}.trap"
        self.prelude = hosted_in_primary(
            "primary/faulty", "primary/journal",
            more=prelude(trap, self.secret) + clock_prelude(self.ledger / "clock") + self._text,
        )  # fmt: skip
        super().start(until)

    def kill_supervisor(self) -> float:
        """Kill the supervisor; return after how many seconds the last process was gone. `start` comes next."""
        self._note_processes()
        pids = self.pids()
        ends: dict[str, int] = {}
        for name, pid in pids.items():
            with suppress(ProcessLookupError):  # it has just died by itself
                ends[name] = os.pidfd_open(pid)
        began = time.monotonic()
        os.kill(pids["supervisor"], signal.SIGKILL)
        took = 0.0
        for name, pidfd in ends.items():
            limit = 10.0 - (time.monotonic() - began)
            gone = _readable(pidfd, limit) if name != "launcher" else True
            assert gone, f"{name} outlived the supervisor"
            took = max(took, time.monotonic() - began)
            os.close(pidfd)
        self.after_death()
        return took

    def after_death(self) -> int:
        """The supervisor has died: read the console to the end, as the launcher's end closes it."""
        process, self.process = self.process, None
        assert process is not None
        with process:
            self.output.read_to_end(process, READY_S)
            return process.wait(30)

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self.cradle is not None:
                self.cradle.close()

    def forget(self) -> None:
        """Remove the ledger."""
        shutil.rmtree(self.ledger)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if error is None:
                self.forget()
            else:
                print(f"-- the ledger is kept: {self.ledger}")

    def __enter__(self) -> Self:
        return super().__enter__()

    # -- breaking ----------------------------------------------------------------------------------------------

    def tell(self, loop: str, fault: str) -> None:
        """Tell the component in a loop to break it; see chaotic/faulty.py."""
        path = self.ledger / loop / f"fault-{loop}"
        path.with_suffix(".new").write_text(fault)
        path.with_suffix(".new").rename(path)

    def quiet(self) -> None:
        """Have the components that call finish what is under way and call no more, until the host is started anew."""
        named = [loop for loop in CALLERS if f"{loop}/caller" in self._callers]
        for loop in named:
            (self.ledger / loop / "quiet").touch()
        self.until(lambda _: all((self.ledger / loop / "silent").exists() for loop in named), "silence", timeout_s=60)
        for loop in named:
            for name in ("quiet", "silent"):
                (self.ledger / loop / name).unlink()

    # -- clients -----------------------------------------------------------------------------------------------

    def begin_outside(self, count: int = 3) -> None:
        """Start a process of clients that talk until `end_outside`."""
        bundles = [str(self.folder / f"{name}.tlsrt") for name in CLIENTS[:count]]
        path = os.pathsep.join([str(HERE.parent), str(PACKAGE_PARENT)])
        with (self.base / "outside.errors").open("ab") as errors:
            self._outside = subprocess.Popen(
                [sys.executable, "-m", "chaos.outside", str(self.ledger), self.secret.hex(), *bundles],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        assert self._outside.stdout is not None
        assert self._outside.stdout.readline() == "talking\n", (self.base / "outside.errors").read_text()

    def drop_client(self) -> None:
        """Cut the connection of one of them."""
        if self._outside is not None and self._outside.stdin is not None:
            self._outside.stdin.write("drop\n")
            self._outside.stdin.flush()

    def end_outside(self, timeout_s: float = 90.0) -> str:
        """Have the clients finish what is under way; return what went wrong in their process, if anything did."""
        process, self._outside = self._outside, None
        if process is None:
            return ""
        try:
            process.communicate("end\n", timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "the clients' process did not end"
        errors = (self.base / "outside.errors").read_text()
        return f"the clients' process ended with {process.returncode}: {errors}" if process.returncode or errors else ""


def _readable(descriptor: int, timeout_s: float) -> bool:
    import select

    return bool(select.select([descriptor], [], [], max(0.0, timeout_s))[0])
