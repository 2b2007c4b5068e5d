"""Scripted supervisors (`hosts/scripted_supervisor.py`), started, watched and asked by tests."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.process.unix_path import short_path

TESTS = Path(__file__).resolve().parents[1]
PROGRAM = (
    f"import sys; sys.path.insert(0, {str(TESTS)!r}); from hosts.scripted_supervisor import main; sys.exit(main())"
)
PATIENCE_S = 15.0


class ScriptedHost:
    """One scripted supervisor and what it printed."""

    def __init__(self, folder: Path, script: dict[str, str]) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.times: list[float] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), json.dumps(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._rest = b""

    def wait(self, pattern: str, count: int = 1) -> str:
        """Wait until `count` printed lines match, and return the last of them."""
        end = time.monotonic() + PATIENCE_S
        while True:
            found = [line for line in self.lines if re.search(pattern, line)]
            if len(found) >= count:
                return found[count - 1]
            if not self._read(end):
                raise AssertionError(f"{pattern!r} did not come: {self.lines} {self._errors()}")

    def _read(self, end: float) -> bool:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        self.lines += [line.decode() for line in whole]
        self.times += [time.monotonic()] * len(whole)
        return bool(piece)

    def _errors(self) -> str:
        assert self.process.stderr is not None
        self.process.kill()
        return self.process.stderr.read().decode()

    def time_of(self, pattern: str) -> float:
        return next(at for line, at in zip(self.lines, self.times, strict=True) if re.search(pattern, line))

    def status(self) -> dict[str, Any]:
        with ControlClient(self.folder / "run") as client:
            return client.ask("status")

    def ask(self, verb: str, **fields: object) -> dict[str, Any]:
        """Return the answer to a verb that may take its time."""
        with ControlClient(self.folder / "run") as client:
            return client.ask(verb, timeout_s=PATIENCE_S, **fields)

    @contextmanager
    def asking(self, verb: str, **fields: object) -> Iterator[socket.socket]:
        """Ask, and let the test wait for the answer when it likes."""
        with socket.socket(socket.AF_UNIX) as client, short_path(self.folder / "run", "control.sock") as path:
            client.connect(path)
            client.settimeout(PATIENCE_S)
            client.sendall(json.dumps({"verb": verb, **fields}).encode() + b"\n")
            yield client

    def command(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of `tlsrt-supervisor`, of which this has no configuration file."""
        program = (
            "import sys; from pathlib import Path; from types import SimpleNamespace\n"
            "from tlsrt.supervisor.cli import main\nfrom tlsrt.supervisor.cli import verbs\n"
            "from tlsrt.config import load\n"
            "load.load_config = lambda path: SimpleNamespace(path=path, run_dir=Path(sys.argv[1]) / 'run', loops=())\n"
            "sys.exit(main.main(sys.argv[2:]))"
        )
        named = ["--config", str(self.folder / "tlsrt.yaml")]
        return subprocess.run(
            [sys.executable, "-c", program, str(self.folder), verb, *arguments, *named],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def wait_for_state(self, name: str, state: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.loop(name)["state"] != state:
            assert time.monotonic() < end, f"{name} never became {state}"

    def loop(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(loop for loop in self.status()["loops"] if loop["name"] == name)
        return found

    def log(self, name: str) -> list[str]:
        return (self.folder / "log" / f"{name}.log").read_text().splitlines()

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and standard error."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        self.lines += (self._rest + out).decode().splitlines()
        return self.process.returncode, err.decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code, errors = self.end()
        print(errors)  # for the report of a test that fails
        return code


Start = Callable[..., ScriptedHost]


def starting(tmp_path: Path) -> Iterator[Start]:
    """The body of a fixture that starts scripted supervisors, and kills what is left of them."""
    made: list[ScriptedHost] = []

    def begin(folder: Path = tmp_path, **script: str) -> ScriptedHost:
        made.append(ScriptedHost(folder, script))
        return made[-1]

    yield begin
    for running in made:
        running.process.kill()
        running.process.communicate()


def pids_of(status: dict[str, Any]) -> dict[str, int]:
    return {"authority": status["authority"]["pid"], **{loop["name"]: loop["pid"] for loop in status["loops"]}}


def wait_until_gone(pids: list[int]) -> None:
    """Wait on pidfds, which become readable at the end."""
    end = time.monotonic() + PATIENCE_S
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ready, _, _ = select.select([pidfd], [], [], max(0.0, end - time.monotonic()))
        os.close(pidfd)
        assert ready, f"{pid} still lives"


def word_of(lines: list[str], word: str) -> list[str]:
    return [line.split()[0] for line in lines if line.split()[1:2] == [word]]
