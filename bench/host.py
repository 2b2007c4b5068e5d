"""A tlsrt host of the bench's own: init, two more components, start in a child, status, stop."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from bench.processes import child

COMPONENTS = Path(__file__).resolve().parent / "components"
SUPERVISOR = Path(sys.executable).with_name("tlsrt-supervisor")
SHOWN_LINES = 8  # of a console that tells of a failure
LOOPS = ("primary", "secondary", "third", "forth", "external")
ADDED: dict[str, dict[str, Any]] = {
    "limits": {"sessions_per_client": 4096, "openings_per_s": 1000, "openings_burst": 10000},  # one client has them all
    "components": {
        "third/driver": {"class": "tlsrt_bench:Driver", "process": "shared"},
        "secondary/echo": {"class": "tlsrt_bench:Echo", "process": "shared"},
    },
    "policy": {
        "client/admin -> third/driver": "*",
        "client/admin -> secondary/echo": ["echo"],
        "third/driver -> secondary/echo": ["echo"],
    },
}


def install_components() -> None:
    """Make the package tlsrt_bench importable in this environment by a .pth file, as an editable install would."""
    Path(sysconfig.get_paths()["purelib"], "tlsrt_bench.pth").write_text(f"{COMPONENTS}\n")


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Host:
    """One installation in `folder`; it may be started and stopped many times. `more` is added to its configuration."""

    def __init__(self, folder: Path, more: Mapping[str, dict[str, Any]] | None = None) -> None:
        install_components()
        self.config = folder / "host" / "tlsrt.yaml"
        self.bundle = folder / "host" / "admin.tlsrt"
        self._errors = folder / "errors"
        self.do("init", str(folder / "host"), "--port", str(free_port()))
        document = yaml.safe_load(self.config.read_text())
        for key, value in (*ADDED.items(), *(more or {}).items()):
            document[key] = (document.get(key) or {}) | value
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))
        self.do("seal", "--config", str(self.config))
        self.port = int(document["door"]["port"])
        self._up = ExitStack()

    def do(self, *arguments: str) -> str:
        """Have a verb done, and return what it prints."""
        done = subprocess.run([SUPERVISOR, *arguments], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"tlsrt-supervisor {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> float:
        """Start, wait until five loops are active, and return when that was; see `started_at` for its begin."""
        self._text = b""
        self.started_at = time.perf_counter()
        argv = [str(SUPERVISOR), "start", "--config", str(self.config)]
        self.process = self._up.enter_context(child(argv, listen=True, errors=self._errors))
        return self.wait_for(lambda lines: all(is_active(process, lines) for process in (*LOOPS, "primary.facts")))

    def stop(self) -> None:
        """Stop in order."""
        self._up.close()

    def wait_for(self, seen: Callable[[list[str]], bool], timeout_s: float = 30.0) -> float:
        """Read the console until `seen` is true of its lines; return the time at which the last one came."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        limit = time.perf_counter() + timeout_s
        while not seen(lines := self._text.decode().splitlines()):
            if any(line.split()[1:2] == ["failed"] for line in lines):
                raise RuntimeError("tlsrt gave a loop up:\n" + "\n".join(lines[:SHOWN_LINES]))
            if not select.select([descriptor], [], [], max(0.0, limit - time.perf_counter()))[0]:
                raise RuntimeError(f"tlsrt: not what was expected in {timeout_s:g} s:\n{self._text.decode()}")
            piece = os.read(descriptor, 65536)
            if not piece:
                raise RuntimeError(f"tlsrt ended:\n{self._text.decode()}{self._errors.read_text()}")
            self._text += piece
        return time.perf_counter()

    def line(self, name: str, word: str) -> str:
        """Wait for the line of the console that begins with a name and a word, and return it."""

        def found(lines: list[str]) -> list[str]:
            return [line for line in lines if line.split()[:2] == [name, word]]

        self.wait_for(lambda lines: bool(found(lines)))
        return found(self._text.decode().splitlines())[0]

    def forget(self) -> None:
        """Forget the console so far, so that `wait_for` sees what comes next."""
        self._text = b""

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.do("status", "--json", "--config", str(self.config)))
        return document

    def pids(self) -> dict[str, int]:
        """Return the host pid of every process, the launcher's too."""
        status = self.status()
        return {
            "launcher": self.process.pid,
            "supervisor": status["supervisor"]["pid"],
            "authority": status["authority"]["pid"],
            **{loop["name"]: loop["pid"] for loop in status["loops"]},
        }


def is_active(loop: str, lines: list[str]) -> bool:
    """Say whether the console has told that a loop is active."""
    return any(line.split()[:2] == [loop, "active"] for line in lines)
