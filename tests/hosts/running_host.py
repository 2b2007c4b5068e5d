"""A whole tlsrt host that runs: `init`, the real supervisor in its own process, status, logs, clients, an end.

    with RunningHost(components={"third/notes": {"class": "notes:Notes"}}, packages=[FOLDER],
                     policy={"client/admin -> third/notes": "*"}) as host:
        host.client().call("third/notes", "add", "hello")

Or as a fixture that prints every log when a test fails (module or session scope keeps a suite fast: a host needs
about a second to come up):

    @pytest.fixture(scope="module")
    def host(request): yield from running(request, policy={...})

Nothing here waits for a time to pass: `start` and `wait_for` wait for lines of the console. Leaving the block stops
the host and proves that no process of it is left: neither one that was ever its child, nor one with its mark in the
environment, nor one that holds its start lock.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from probes.sandbox_runner import MODES, NOBODY, become_nobody

from hosts import coverage_pipe
from hosts.command_server import CommandServer, command_server
from hosts.console import Console
from hosts.environment import make_environment
from hosts.host_files import install
from hosts.host_processes import MARK, HostProcesses
from hosts.late_prelude import LatePrelude
from hosts.ports import free_port as free_port
from hosts.ports import uid_base as uid_base
from hosts.start_server import started
from tlsrt import Client
from tlsrt.config.bundle import Bundle, read_bundle
from tlsrt.config.schema import Config
from tlsrt.supervisor.control.client import ControlClient

READY_S = 30.0
_OF_AN_ENVIRONMENT = ("component",)  # verbs that ask an interpreter where it lies, which it knows from its beginning
LAUNCH = """
import signal, sys
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.launch.launcher import launch
syscalls.die_with_parent(signal.SIGKILL)  # a test run that is killed leaves no host behind
sys.exit(launch(sys.argv[2:], program=sys.argv[1]))
"""
INNER = "from tlsrt.supervisor.launch.launcher import inner; inner()"


class RunningHost:
    """One installation, started and stopped at will. Keyword arguments are what goes into its YAML.

    `clients` are names besides admin that get a certificate and a bundle, those in `http` may use HTTP, and those
    in `may` lock or unlock the host; `packages`
    are folders of Python packages that components come from; `extra` is any more YAML. `mode` is one of
    probes.sandbox_runner.MODES: as root, or as a user without rights, to whom all files are given then. `witness` is a
    command that runs the host, as `strace -D` does.
    `prelude` is Python text that runs in the supervisor before anything else, to make a constant smaller: use it only
    where the configuration has no setting.
    The host is forked from a process that has imported what it needs (hosts/start_server.py), unless it is to
    `execute` a new interpreter: for tests of that, and by itself with a prelude, which changes what others import; but
    for a LatePrelude, which does so where they have imported it.
    """

    def __init__(
        self, *, components: Mapping[str, Any] | None = None, policy: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None, clients: Sequence[str] = (), packages: Sequence[Path] = (),
        extra: Mapping[str, Any] | None = None, prelude: str = "", mode: str = MODES[0], witness: Sequence[str] = (),
        http: Sequence[str] = (), may: Mapping[str, Sequence[str]] | None = None,
        detection: Mapping[str, Any] | None = None, execute: bool | None = None,
    ) -> None:  # fmt: skip
        self.base = Path(tempfile.mkdtemp(prefix="tlsrt."))  # short: a socket's path has 108 bytes
        self.base.chmod(0o755)
        self.folder = self.base / "d"
        self.config_path = self.folder / "tlsrt.yaml"
        self.port = free_port()
        self.prelude = prelude
        self.mode = mode
        self._witness = [*witness]
        self._drops = mode == "rootless" and os.geteuid() == 0
        self._execute = execute
        self.process: subprocess.Popen[bytes] | None = None
        self.output = Console(self.base / "errors")
        self._mark = secrets.token_hex(8)
        self._processes = HostProcesses(self._mark, Path(witness[0]).name if witness else "")
        self._clients: list[Client] = []
        self._commands: CommandServer | None = None  # of an interpreter of its own
        self._made = make_environment(self.base / "env", packages) if packages else None
        self.python = self._made.python if self._made is not None else Path(sys.executable)
        self._code = self._made.code if self._made is not None else None
        sys_path = [str(self._code)] if self._code is not None else []
        added = {"components": components, "policy": policy, "limits": limits, "detection": detection, **(extra or {})}
        sys.path += sys_path
        try:
            added = {key: value for key, value in added.items() if value}
            self.config = self._install(added, clients, http, may or {})
            if self._drops:
                for path in (self.folder, *self.folder.rglob("*")):
                    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        except BaseException:
            shutil.rmtree(self.base)
            raise
        finally:
            sys.path[:] = [entry for entry in sys.path if entry not in sys_path]

    def _install(
        self, added: Mapping[str, Any], clients: Sequence[str], http: Sequence[str], may: Mapping[str, Sequence[str]]
    ) -> Config:
        """Make its files; another kind of host has others."""
        return install(self.folder, self.port, added, clients, http, may)

    @property
    def admin(self) -> Bundle:
        return self.bundle("admin")

    def bundle(self, name: str) -> Bundle:
        """Return the bundle of a client."""
        return read_bundle(self.folder / f"{name}.tlsrt")

    # -- life --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.print_logs()
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self.print_logs()
        finally:
            self.close()

    def _executes(self, is_measured: bool) -> bool:
        is_early = bool(self.prelude) and not isinstance(self.prelude, LatePrelude)
        is_wanted = is_early if self._execute is None else self._execute
        return is_wanted or is_measured or bool(self._witness) or self._drops

    def start(self, until: str = "^ready ") -> None:
        """Start the supervisor and wait for its `ready`, or for another line that a test wants to see."""
        environment = {**os.environ, MARK: self._mark}
        is_measured = coverage_pipe.VARIABLE in environment
        pipes = [int(environment[coverage_pipe.VARIABLE])] if is_measured else []
        prelude = f"{coverage_pipe.PRELUDE}{self.prelude}" if is_measured else self.prelude
        self.output.begin()
        program, arguments = f"{prelude}\n{INNER}", ["--config", str(self.config_path)]
        words = [*self._witness, str(self.python), "-I", "-B", "-c", LAUNCH, program, *arguments]
        with (self.base / "errors").open("ab") as errors:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": errors}
            options: dict[str, Any] = {"env": environment, "cwd": self.base, **streams}
            forked = None if self._executes(is_measured) else started(self._made, words, program, arguments, **options)
            self.process = forked or subprocess.Popen(
                words, **options, pass_fds=pipes, preexec_fn=become_nobody if self._drops else None
            )
        line = self.wait_for(f"{until}|given up", timeout_s=READY_S)
        assert re.search(until, line), self.output.transcript()
        self._note_processes()

    def stop(self) -> int:
        """Stop the host in order and return the exit status; clients made here are closed."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        process, self.process = self.process, None
        if process is None:
            return 0
        self._note_processes()
        with process:
            process.send_signal(signal.SIGTERM)
            try:
                self.output.read_to_end(process, READY_S)
                return process.wait(READY_S)
            except BaseException:
                process.kill()
                raise

    def restart(self) -> None:
        """Stop and start: another boot of the same installation."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop, prove that no process is left, and remove every file."""
        try:
            self.stop()
        finally:
            left = self._processes.left(self.config.state_dir / "lock")
            for process in left:
                process.kill()
            if self._commands is not None:
                self._commands.close()
            shutil.rmtree(self.base)
        assert not left, f"processes of the host outlived it: {left}"

    def _note_processes(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self._processes.note(self.process.pid)

    # -- what it says ------------------------------------------------------------------------------------------

    @property
    def console(self) -> list[str]:
        """The lines of the console so far."""
        return self.output.lines

    def wait_for(self, pattern: str, *, after: int = 0, timeout_s: float = READY_S) -> str:
        """Wait for a line of the console, number `after` or later, that matches; return it."""
        assert self.process is not None, "the host is not started"
        return self.output.wait_for(self.process, pattern, after=after, timeout_s=timeout_s)

    def log(self, name: str) -> str:
        """Return the log of a loop, or of the authority."""
        path = self.config.log_dir / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def print_logs(self) -> None:
        """Print console, standard error and all logs, for whoever looks at a failed test."""
        with suppress(AssertionError):  # nothing more is there now
            while self.process is not None and self.output.read_some(self.process, 0.0):
                continue
        print(f"-- console of {self.folder}\n{self.output.transcript()}")
        for path in sorted(self.config.log_dir.glob("*.log")):
            print(f"-- {path.name}\n{path.read_text()}")

    def command(self, *arguments: str, config: Path | None = None) -> list[str]:
        """Return the command line of `tlsrt-supervisor` with these arguments for this host."""
        named = ["--config", str(config or self.config_path)]
        return [str(self.python), "-I", "-B", "-m", "tlsrt.supervisor.cli.main", *arguments, *named]

    def cli(self, *arguments: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `tlsrt-supervisor` with these arguments and this host's configuration, or another one."""
        if not self._drops:
            words = [*arguments, "--config", str(config or self.config_path)]
            if self._made is None or arguments[0] not in _OF_AN_ENVIRONMENT:
                return command_server().run(words, cwd=self.base, made=self._made)
            if self._commands is None:
                self._commands = CommandServer(self.python)
            return self._commands.run(words, cwd=self.base)
        return subprocess.run(
            self.command(*arguments, config=config),
            capture_output=True, text=True, timeout=60, cwd=self.base,
            preexec_fn=become_nobody,
        )  # fmt: skip

    def told(self, *words: str, by: Sequence[str] = ("events", "--json")) -> str:
        """Wait until a verb prints all these words; return all that it prints.

        Events, and what the audit log has, are there a moment after what they are about.
        """
        limit = time.monotonic() + READY_S
        while True:
            said = self.cli(*by).stdout
            if all(word in said for word in words):
                return said
            assert time.monotonic() < limit, f"{by} never said {words}:\n{said}"
            select.select([], [], [], 0.05)

    def status(self) -> dict[str, Any]:
        """Return the document of `status --json`, asked over the control socket."""
        with self._as_operator(), ControlClient(self.config.run_dir) as client:
            return client.ask("status")

    @contextmanager
    def _as_operator(self) -> Iterator[None]:
        """The kernel tells a listener who connects, and a user's supervisor does not know the host's root."""
        if self._drops:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if self._drops:
                os.seteuid(0)
                os.setegid(0)

    def loop(self, name: str) -> dict[str, Any]:
        """Return one loop's entry of the status."""
        entry: dict[str, Any] = next(loop for loop in self.status()["loops"] if loop["name"] == name)
        return entry

    def until(self, true: Callable[[dict[str, Any]], bool], what: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """Ask for the status until it is as wanted; return it. It changes with the loops' beats, twice a second."""
        limit = time.monotonic() + timeout_s
        while True:
            document = self.status()
            if true(document):
                return document
            assert time.monotonic() < limit, f"the status never showed {what}: {json.dumps(document)}"
            select.select([], [], [], 0.02)  # the control socket tells no changes

    # -- who is there ------------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """Return the host pids of launcher, supervisor, authority and loops."""
        document = self.status()
        assert self.process is not None
        loops = {loop["name"]: int(loop["pid"]) for loop in document["loops"] if loop["pid"]}
        trusted = {name: int(document[name]["pid"]) for name in ("supervisor", "authority") if document[name]["pid"]}
        return {"launcher": self.process.pid, **trusted, **loops}

    def all_pids(self) -> dict[str, int]:
        """Return the same, and those of the fork servers and the learner, which are in no list of processes."""
        document = self.status()
        supervisor, learner = document["supervisor"], document["learner"] or {"pid": None}
        more = {"fork_server": supervisor["fork_server"], "spare_server": supervisor["spare_fork_server"]}
        more["learner"] = learner["pid"]
        return {**self.pids(), **{name: int(pid) for name, pid in more.items() if pid is not None}}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to launcher, supervisor, authority or a loop; return its host pid."""
        self._note_processes()
        pid = self.pids()[name]
        os.kill(pid, number)
        return pid

    def respawn(self, loop: str) -> str:
        """Kill a loop and wait until the next incarnation is active; return the line that says so."""
        before = len(self.console)
        self.kill(loop)
        line = self.wait_for(rf"^{re.escape(loop)} +active ", after=before)
        self._note_processes()
        return line

    def client(self, name: str = "admin") -> Client:
        """Return a new connected client, closed with the host at the latest."""
        client = Client(self.bundle(name))
        self._clients.append(client)
        return client


def running(request: pytest.FixtureRequest, **options: Any) -> Iterator[RunningHost]:
    """The body of a fixture: a host that runs, with all logs printed if a test failed meanwhile."""
    failed = request.session.testsfailed
    with RunningHost(**options) as host:
        yield host
        if request.session.testsfailed > failed:
            host.print_logs()
