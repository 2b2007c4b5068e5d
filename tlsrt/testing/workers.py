"""Workers in a test without a host: plain processes, not confined, with the modules that the test can import."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.channels.control.program_request import encode_request
from tlsrt.config.components import ComponentConfig
from tlsrt.config.manifest import FILE, parse_manifest
from tlsrt.config.programs import ProgramConfig
from tlsrt.config.setting import Builder
from tlsrt.config.worker_code import MAIN
from tlsrt.errors import ConfigError, MisuseError
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.program import Pipes
from tlsrt.loops.component.worker_pool import WorkerLimits
from tlsrt.text import did_you_mean, printable

_LINE_MOST = 400


def declared_programs(kind: type[Component]) -> Mapping[str, Mapping[str, object]]:
    """Return the programs in the manifest of a component, if its package has one."""
    found: Mapping[str, Mapping[str, object]] = declared(kind, "programs") or {}
    return found


def declared(kind: type[Component], key: str) -> Any:
    """Return what the manifest of a component says under a key; None if its package has none that does."""
    package = sys.modules.get(kind.__module__.partition(".")[0])
    for folder in getattr(package, "__path__", ()):
        for file in sorted(Path(folder).glob(f"*{FILE}")):
            with suppress(ConfigError, OSError):  # another one of the package, which is being written
                tree = parse_manifest(file.read_bytes(), file).tree
                if key in tree and _is_of(str(tree.get("class", "")), kind):
                    return tree[key]
    return None


def _is_of(class_path: str, kind: type[Component]) -> bool:
    module, _, name = class_path.partition(":")
    return getattr(sys.modules.get(module) or importlib.import_module(module), name, None) is kind


def program_configs(programs: Mapping[str, Mapping[str, object]]) -> dict[str, ProgramConfig]:
    """Return the programs of a tree by name."""
    values: dict[str, Any] = Builder(Path("/")).values(ComponentConfig, {"programs": programs})
    return {one.name: one for one in values.get("programs", ())}


class PlainPrograms:
    """Runs the workers of one component as processes of the test."""

    def __init__(self, programs: Mapping[str, Mapping[str, object]], log: logging.Logger) -> None:
        self._programs = program_configs(programs)
        self._log = log
        self._count = 0
        self._over: list[asyncio.Future[tuple[int, int]]] = []

    async def close(self) -> None:
        """Wait until all processes have ended, of which the component has let go."""
        if self._over:
            await asyncio.wait(self._over)

    @property
    def limits(self) -> dict[str, WorkerLimits]:
        """Return the limits of all workers, by name."""
        return {name: self.worker(name) for name, one in self._programs.items() if one.worker}

    def worker(self, name: str) -> WorkerLimits:
        program = self._programs.get(name)
        if program is None or not program.worker:
            workers = [one.name for one in self._programs.values() if one.worker]
            raise MisuseError(
                f"no worker {name!r} is declared: give `programs` to `running`, or declare it in the manifest"
                f"{did_you_mean(name, workers)}"
            )
        return WorkerLimits(program.runs_most, program.call_s)

    async def begin(self, name: str) -> Pipes:
        program = self._programs.get(name)
        if program is None or not program.worker:
            raise MisuseError(f"no program {name!r} can be run here: there is no host")
        self._count += 1
        pairs = [socket.socketpair() for _ in range(3)]
        (data, their_data), (errors, their_errors), (leash, their_leash) = pairs
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _text(program.worker)], stdin=their_data.fileno(), stdout=their_data.fileno(),
                stderr=their_errors.fileno(), env={**os.environ, **program.environment},
            )  # fmt: skip
        finally:
            their_data.close()
            their_errors.close()
        over: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._over.append(over)
        for one in (data, errors, leash, their_leash):
            one.setblocking(False)
        _Run(process, their_leash, over).watch()
        return Pipes(self._count, data, errors, leash, over)

    def secrets(self, name: str) -> bytes:
        return b""

    def log(self, name: str, number: int, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._log.info("%s #%s: %s", name, number, printable(line.decode("utf-8", "backslashreplace"), _LINE_MOST))


def _text(module: str) -> str:
    """Return what the process runs; what comes before the first call is for the launcher of a host."""
    path = [os.path.abspath(entry) for entry in sys.path]
    skipped = len(encode_request([]))
    return (
        f"import os, sys; os.read(0, {skipped}); sys.path[:] = {path!r}; from {MAIN} import main; "
        f"sys.exit(main({module!r}))"
    )


class _Run:
    """A process, which ends when the leash is closed."""

    def __init__(self, process: subprocess.Popen[bytes], leash: socket.socket, over: asyncio.Future[Any]) -> None:
        self._process = process
        self._leash = leash
        self._over = over
        self._pidfd = os.pidfd_open(process.pid)
        self._is_let_go = False

    def watch(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._leash, self._let_go)
        loop.add_reader(self._pidfd, self._ended)

    def _let_go(self) -> None:
        asyncio.get_running_loop().remove_reader(self._leash)
        self._is_let_go = True
        self._process.kill()

    def _ended(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        loop.remove_reader(self._leash)
        os.close(self._pidfd)
        self._leash.close()
        status = self._process.wait()
        if not self._over.done():
            if self._is_let_go:
                self._over.set_result((Outcome.CANCELLED, 0))
            elif status < 0:
                self._over.set_result((Outcome.SIGNALLED, int(signal.Signals(-status))))
            else:
                self._over.set_result((Outcome.ENDED, status))
