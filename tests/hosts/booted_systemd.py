"""A systemd of one's own as process 1 of private namespaces: real units, journal, credentials and watchdogs.

    with BootedSystemd() as machine:
        machine.write("/etc/systemd/system/demo.service", "[Service]\\nExecStart=/bin/true\\n")
        machine.systemctl("daemon-reload")
        machine.systemctl("start", "demo")

It comes up in under a second. Its files are those of this machine, copy-on-write: what is written inside is gone at the
end. Its network, host name, /run, /dev, journal and control groups are its own. tlsrt is installed in /opt/tlsrt,
with an interpreter that every user may run: `machine.do("tlsrt-supervisor", ...)`. Controllers are those that the
machine delegates, on most none. A whole file of tests shares one: `yield from booted(request)`.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from tools.programs import LEFT_OUT, need

from hosts.installation import VERSION, copy_dependencies, copy_files, once, place_interpreter, run, shared, wheel

HOME = Path("/opt/tlsrt")  # where tlsrt is, inside
LIMIT_S = 60.0
_SCRIPT = Path(__file__).resolve().parents[1] / "tools/booted_systemd/boot.sh"
_RIGHTS = next(line for line in _SCRIPT.read_text().splitlines() if line.startswith("RIGHTS=")).removeprefix("RIGHTS=")
_PATH = f"{HOME}/env/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_START = "import sys; sys.argv[0] = {name!r}; from {module} import {function}; sys.exit({function}())"


@cache
def installation() -> Path:
    """Return the folder that is /opt/tlsrt inside: an interpreter, and an environment with tlsrt in it.

    It is written as it will be found there, so that it costs no run of pip, and with the byte code that pip would make.
    It is made once for all processes that share the suite.
    """
    return once(shared() / "opt-tlsrt", _install)


def _install(folder: Path) -> None:
    place_interpreter(folder / "python")
    site, programs = folder / f"env/lib/{VERSION}/site-packages", folder / "env/bin"
    for made in (site, programs):
        made.mkdir(parents=True)
    (folder / "env/pyvenv.cfg").write_text(f"home = {HOME}/python/bin\ninclude-system-site-packages = false\n")
    copy_dependencies(site, compiled=False)
    with suppress(metadata.PackageNotFoundError):  # of an extra that is not installed
        copy_files("dbus-fast", site, compiled=False)
    with zipfile.ZipFile(wheel()) as archive:
        archive.extractall(site)
    (programs / "python").symlink_to(f"{HOME}/python/bin/{VERSION}")
    for entry in metadata.distribution("tlsrt").entry_points.select(group="console_scripts"):
        text = _START.format(name=entry.name, module=entry.module, function=entry.attr)
        (programs / entry.name).write_text(f"#!{HOME}/env/bin/python\n{text}\n")
    run(sys.executable, "-m", "compileall", "-q", "-s", folder, "-p", HOME, site)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            is_program = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if is_program else 0o644)


class BootedSystemd:
    """One boot; `binds` are more folders of this machine and their places inside, where they are read-only.

    With `root` its files are those of that folder and not of this machine, and tlsrt is not installed.
    """

    def __init__(self, binds: Mapping[Path, Path] | None = None, *, root: Path | None = None) -> None:
        for program in ("unshare", "systemctl", "ip"):
            need(program)
        groups = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line]
        if os.geteuid() != 0 or not groups:
            what = "root" if os.geteuid() != 0 else "a mounted cgroup2"
            if os.environ.get("CI"):
                pytest.fail(f"a booted systemd needs {what}")
            pytest.skip(f"{LEFT_OUT}{what}, to boot a systemd")
        self._folder = Path(tempfile.mkdtemp(prefix="booted.", dir="/run"))
        self._group = Path(groups[0], self._folder.name)  # not `tlsrt-*`, which a start of tlsrt may take as its own
        self._root = root
        self._binds = {**({installation(): HOME} if root is None else {}), **(binds or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0  # of its process 1, here

    def __enter__(self) -> Self:
        self._group.mkdir()
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _boot(self) -> None:
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork"]
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "BOOT_FOLDER": str(self._folder),
            "BOOT_GROUP": self._group.name,
            "BOOT_ROOT": str(self._root or "/"),
            "BOOT_BINDS": "\n".join(f"{there} {here}" for there, here in self._binds.items()),
        }
        errors = self._folder / "errors"
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [*words, "--kill-child=KILL", "bash", str(_SCRIPT), "group"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, env=environment,
            )  # fmt: skip
        try:
            self.until(self._is_up, "a booted systemd", said=errors.read_text)
        finally:
            errors.unlink()
        (self._group / "tests").mkdir()
        state = self.run("systemctl", "is-system-running", "--wait").stdout.strip()
        failed = self.run("systemctl", "--failed", "--no-pager").stdout
        assert state == "running", f"systemd is {state}: {failed}"
        # a copied interpreter that has its own library
        if self._root is None and any((installation() / "python/lib").glob("libpython*")):
            self.write("/etc/ld.so.conf.d/tlsrt-test.conf", f"{HOME}/python/lib\n")
            self.do("ldconfig")

    def _is_up(self) -> bool:
        process = self._process
        assert process is not None
        if process.poll() is not None:
            raise AssertionError("it ended")
        if not self.pid:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            self.pid = int(children[0]) if children else 0
        # The old root is gone from its sight once it is systemd's
        return bool(self.pid) and self.path("/run/systemd/private").exists() and not self.path(self._folder).exists()

    def close(self) -> None:
        """End every process and remove what is left of it here."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)  # process 1 of its namespace: all others go with it
        if self._process is not None:
            if not self.pid:
                self._process.kill()
            self._process.wait(LIMIT_S)
        if (self._group / "cgroup.kill").exists():
            (self._group / "cgroup.kill").write_text("1")
        limit = time.monotonic() + 10.0
        while self._group.exists():
            for group in sorted(self._group.rglob("*/"), reverse=True):
                _remove(group)
            _remove(self._group)
            assert time.monotonic() < limit, f"{self._group} does not go away"
            select.select([], [], [], 0.01)  # the kernel does not tell when the last process has left
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait_off(self) -> None:
        """Return when it has powered off by itself: then it has no process any more."""
        assert self._process is not None
        self._process.wait(LIMIT_S)
        self.pid = 0

    # -- what is done inside -----------------------------------------------------------------------------------

    def path(self, inside: str | Path) -> Path:
        """Return how a file inside is called here."""
        return Path(f"/proc/{self.pid}/root", str(inside).lstrip("/"))

    def write(self, inside: str | Path, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file inside, with the folders above it."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)

    def _command(self, words: Sequence[str | Path], environment: Mapping[str, str]) -> list[str]:
        """Return the command line that runs `words` inside: in its groups first, then in its namespaces."""
        enter = f'echo $$ > "{self._group}/tests/cgroup.procs" && exec "$@"'
        clean = [f"{name}={value}" for name, value in {"PATH": _PATH, "HOME": "/root", **environment}.items()]
        return [
            "sh", "-c", enter, "sh", "nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "--wdns=/",
            "--", "setpriv", f"--bounding-set={_RIGHTS}", "env", "-i", *clean, *map(str, words),
        ]  # fmt: skip

    def run(
        self, *words: str | Path, environment: Mapping[str, str] | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root without the rights to change the machine; it may fail."""
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        return subprocess.run(
            self._command(words, environment or {}), capture_output=True, text=True, timeout=LIMIT_S, **source
        )  # fmt: skip

    def do(self, *words: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """Run a command inside that must succeed; return its output."""
        done = self.run(*words, environment=environment)
        assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def popen(
        self, *words: str | Path, environment: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start a command inside and do not wait; its output is a pipe."""
        return subprocess.Popen(
            self._command(words, environment or {}), stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def systemctl(self, *words: str) -> str:
        """Run systemctl, which must succeed; if it does not, the journal's last lines are in the error."""
        done = self.run("systemctl", *words)
        if done.returncode != 0:
            lines = self.run("journalctl", "--no-pager", "-n", "60", "-o", "short-precise").stdout
            raise AssertionError(f"systemctl {words} ended with {done.returncode}: {done.stderr}\n{lines}")
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.do("systemctl", "show", "-P", name, unit).strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return the entries of the journal that match: `_SYSTEMD_UNIT=tlsrt.service`, or words of journalctl."""
        lines = self.do("journalctl", "-q", "--no-pager", "-o", "json", *matches).splitlines()
        return [json.loads(line) for line in lines]

    @contextmanager
    def kept_journal(self) -> Iterator[Callable[..., list[dict[str, Any]]]]:
        """Hold the journal's files; what is given reads them as `journal` does, from here, after a power off too.

        No process of the test may be inside while it powers off: its end stops each process for a moment, nsenter then
        stops itself for good, and what nsenter would have waited for keeps the last process from its end.
        """
        folder = os.open(self.path("/run/log/journal"), os.O_RDONLY | os.O_DIRECTORY)

        def read(*matches: str) -> list[dict[str, Any]]:
            words = ["journalctl", "-q", "--no-pager", "-o", "json", "-D", f"/proc/self/fd/{folder}", *matches]
            done = subprocess.run(words, capture_output=True, check=True, timeout=LIMIT_S, pass_fds=[folder])
            return [json.loads(line) for line in done.stdout.splitlines()]

        try:
            yield read
        finally:
            os.close(folder)

    def until(
        self, true: Callable[[], bool], what: str, *, timeout_s: float = 20.0, said: Callable[[], str] = str
    ) -> None:
        """Ask again until it is so: systemd tells no changes to one who has no bus."""
        limit = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < limit, f"never came: {what}\n{said()}"
            select.select([], [], [], 0.02)


def _remove(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:  # a process is in it still
        return


def booted(request: pytest.FixtureRequest, **options: Any) -> Iterator[BootedSystemd]:
    """The body of a fixture: a systemd that runs, and its journal on the output if a test failed meanwhile."""
    failed = request.session.testsfailed
    with BootedSystemd(**options) as machine:
        yield machine
        if request.session.testsfailed != failed and machine.pid:
            print(machine.run("journalctl", "--no-pager", "-o", "short-precise").stdout, file=sys.stderr)
