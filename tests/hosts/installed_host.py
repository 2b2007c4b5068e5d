"""A host of an installed tlsrt, handled with its two commands only, as its operator and its clients do.

    host = InstalledHost(installed(), folder)
    host.init()
    with host.started():
        host.call("primary/kernel", "uname")

`refused()` starts what must not start, and proves that it says one sentence, leaves nothing and shows no traceback.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hosts.command_server import CommandServer
from hosts.installation import PROGRAMS, Environment, once, scratch
from hosts.running_host import free_port

PROGRAM = "tlsrt-supervisor"
LIMIT_S = 30.0
NOBODY = 65534
# `init`, beginning with byte code that another one has made: what is of the same sources is kept, as in a `seal`.
_INIT = """
import os, shutil, sys
from tlsrt.config import bytecode
from tlsrt.supervisor.cli.main import main
made, compile_all = sys.argv.pop(1), bytecode._compile_all
def link(source, target):
    try:
        os.link(source, target)
    except OSError:  # of another user, or another file system
        shutil.copyfile(source, target)
def after_linking(folder, sources):
    shutil.copytree(made, folder, dirs_exist_ok=True, copy_function=link)
    compile_all(folder, sources)
bytecode._compile_all = after_linking
sys.exit(main())
"""


class InstalledHost:
    """One configuration folder of one environment; `user` is the uid and gid of everything that runs, if not ours.

    `prefix` are words before every command, of one that runs it with less rights. With `forked`, every command but
    `start` runs in a fork of a process that has imported it: where what it does is tested, and not how it begins, and
    where no library of the environment is overwritten, which would end that process.
    """

    def __init__(
        self, environment: Environment, folder: Path, *, user: int | None = None, prefix: Sequence[str] = (),
        forked: bool = False,
    ) -> None:  # fmt: skip
        self.environment = environment
        self._prefix = list(prefix)
        self.folder = folder
        self.config = folder / "tlsrt.yaml"
        self.port = free_port()
        self.console: list[str] = []
        self._as_user: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": ()}
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TLSRT", "COV"))}
        self._environ["TLSRT_BUNDLE"] = str(folder / "admin.tlsrt")
        if environment.libraries is not None:
            self._environ["LD_LIBRARY_PATH"] = environment.libraries
        assert not forked or (user is None and not prefix), "a fork has the rights of the tests"
        self._forked = forked

    @property
    def _environment(self) -> dict[str, str]:
        """As root, also as that of a user namespace, a configuration has to be named."""
        is_named = os.geteuid() == 0 and self.config.exists()
        return {**self._environ, **({"TLSRT_CONFIG": str(self.config)} if is_named else {})}

    def run(self, *words: str | Path, program: str = PROGRAM, cwd: Path | None = None) -> tuple[int, str, str]:
        """Run one of the commands; return its exit code, output and errors."""
        if self._forked and program in PROGRAMS and words[:1] != ("start",):
            path, folder = self.environment.program(program), cwd or self.folder.parent
            server = _server(self.environment, os.getpid())
            run = server.run([*map(str, words)], cwd=folder, environment=self._environment, name=program, path=path)
            assert "Traceback" not in run.stdout + run.stderr
            return run.returncode, run.stdout, run.stderr
        command = [*self._prefix, str(self.environment.program(program)), *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL, env=self._environment,
            cwd=cwd or self.folder.parent, **self._as_user,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr

    def do(self, *words: str | Path, program: str = PROGRAM) -> str:
        """Run a command that must succeed; return its output."""
        code, output, errors = self.run(*words, program=program)
        assert code == 0 and errors == "", f"{program} {words} ended with {code}: {output}{errors}"
        return output

    def init(self) -> str:
        """Run `init` as it is. Most of its time it compiles what is installed, the same for every host."""
        return self.do("init", self.folder, "--port", str(self.port))

    def init_compiled(self, *options: str) -> tuple[int, str, str]:
        """Run `init` with the byte code that another `init` in this environment has made, so that it compiles none."""
        program = ("-I", "-B", "-c", _INIT, _bytecode(self.environment))
        return self.run(*program, "init", self.folder, "--port", str(self.port), *options, program="python")

    def like_new(self) -> None:
        """Have what `init` makes by a copy: for a test of something else, and one host of an environment at a time.

        All copies have one port, one key, one certificate, and the files of their byte code: replace one to change it.
        """
        template = _made_once(self.environment)
        shutil.copytree(template.folder, self.folder, symlinks=True, copy_function=_copy)
        self.port = template.port

    def seal(self) -> str:
        return self.do("seal", "--config", self.config)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.do("status", "--json", "--config", self.config))
        return document

    def call(self, *words: str) -> Any:
        """Call a method with the `tlsrt` command; return its result."""
        return json.loads(self.do("call", *words, "--json", program="tlsrt"))

    def popen(self, *words: str | Path, program: str = PROGRAM) -> subprocess.Popen[bytes]:
        """Start one of the commands and do not wait."""
        return subprocess.Popen(
            [*self._prefix, str(self.environment.program(program)), *map(str, words)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment, cwd=self.folder.parent,
            **self._as_user,
        )  # fmt: skip

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start, wait until it says that it is ready, and stop it with SIGTERM at the end."""
        with self.popen("start", "--config", self.config) as process:
            try:
                self.console = _lines_until_ready(process)
                yield process
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                rest, _ = process.communicate(timeout=LIMIT_S)
                self.console += rest.decode().splitlines()
            finally:
                process.kill()
        assert process.returncode == 0, "\n".join(self.console)
        self.assert_nothing_runs()

    def refused(self, code: int = 78) -> str:
        """Start what must not start; return its one sentence."""
        ended, output, errors = self.run("start", "--config", self.config)
        assert ended == code, f"exit code {ended}: {output}{errors}"
        assert not re.search("active|open|ready", output), output
        [sentence] = errors.splitlines()
        assert sentence.startswith(f"{PROGRAM}: ")
        self.assert_nothing_runs()
        return sentence.removeprefix(f"{PROGRAM}: ")

    def assert_nothing_runs(self) -> None:
        """No process has our configuration in its command line: not the launcher, the supervisor or its children."""
        left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(self.config) in _text(path)]
        assert not left, f"still running: {[(path, _text(path)) for path in left]}"


@cache
def _server(environment: Environment, pid: int) -> CommandServer:
    """Return the server of an environment's commands for this process, which `pid` is."""
    begin = dict(os.environ)
    if environment.libraries is not None:
        begin["LD_LIBRARY_PATH"] = environment.libraries
    server = CommandServer(environment.program("python"), begin)
    atexit.register(_close, server, pid)
    return server


def _close(server: CommandServer, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that some test forked
        server.close()


@cache
def _made_once(environment: Environment) -> InstalledHost:
    host = InstalledHost(environment, Path(tempfile.mkdtemp(prefix="new.", dir=scratch())) / "var")
    code, _, errors = host.init_compiled()
    assert (code, errors) == (0, "")
    return host


def _copy(source: str, target: str) -> None:
    """Copy a file, or link one of byte code: what is written anew for each host keeps the disk busy for seconds."""
    if source.endswith(".pyc"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _bytecode(environment: Environment) -> Path:
    """Return what an `init` in this environment compiled, which every user may read: the code names its files."""

    def make(folder: Path) -> None:
        host = InstalledHost(environment, folder / "var")
        host.init()
        shutil.copytree(host.folder / "tlsrt.bytecode", folder, dirs_exist_ok=True, copy_function=_copy)
        shutil.rmtree(host.folder)

    return once(environment.folder.with_name(f"{environment.folder.name}.bytecode"), make)


def _lines_until_ready(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stdout is not None
    limit = time.monotonic() + LIMIT_S
    text = b""
    while b"\nready " not in text:
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, limit - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 65536) if readable else b""
        assert piece, f"it did not start: {text.decode()}"
        text += piece
    return text.decode().splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # gone meanwhile
        return ""
