"""The peers of the rows `start` and `idle`: other supervisors with five Python children of the same imports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bench.host import LOOPS
from bench.processes import CHECKOUT, child, cpu_ns, memory_kib, switches, tree
from bench.programs import ROOT, environment, need_modules, program, script, unpacked
from bench.row import Case, CaseMissing, Sample

READY_S = 30.0
SETTLED_S = 2.0  # runit and s6 hold a child back that ended within a second of its start
CHILD = CHECKOUT / "bench" / "peers" / "loop_child.py"
OVER_USR_BIN = 'mount -t overlay overlay -o "lowerdir=$1:/usr/bin" /usr/bin && shift && exec "$@"'
Command = Callable[[Path, list[str]], list[str]]


class Supervised:
    """Starts a supervisor anew for each burst of the case `start`; kills a child of the one that runs."""

    def __init__(self, folder: Path, command: Command) -> None:
        self._folder = folder
        self._command = command
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path = folder / "ready"
        self._ready.bind(str(self._path))
        self._ready.settimeout(READY_S)
        self._runs = 0
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._children: dict[str, int] = {}
        self._since = 0.0

    def burst(self, case: Case, seconds: float) -> Sample:
        if case.word("does") == "start":
            return self.start()
        if self._process is None:
            self.start()
        if case.word("does") == "idle":
            return self._idle(seconds)
        if case.word("does") == "die":
            return self._crash_loop(seconds)
        if case.word("loop") != "third":
            raise CaseMissing("")  # one child is like the other
        time.sleep(max(0.0, self._since + SETTLED_S - time.perf_counter()))
        begin = time.perf_counter()
        os.kill(self._children["third"], signal.SIGKILL)
        self._hear()
        return {"ready_ms": (self._since - begin) * 1000}

    def _crash_loop(self, seconds: float) -> Sample:
        """Kill a child as soon as it is ready, again and again."""
        self.start()
        over = time.perf_counter() + seconds
        spawns, longest, last = 0, 0.0, time.perf_counter()
        while (left := over - time.perf_counter()) > 0:
            os.kill(self._children["third"], signal.SIGKILL)
            self._ready.settimeout(left)
            try:
                self._hear()
            except TimeoutError:  # it waits longer than this burst, or has given up
                longest = max(longest, time.perf_counter() - last)
                break
            finally:
                self._ready.settimeout(READY_S)
            spawns, longest, last = spawns + 1, max(longest, self._since - last), self._since
        self.close()
        return {"spawns": spawns, "gap_ms": longest * 1000}

    def start(self) -> Sample:
        self.close()
        self._runs += 1
        own = self._folder / str(self._runs)
        own.mkdir()
        children = [f"{sys.executable} {CHILD} {name} {self._path}" for name in LOOPS]
        argv = self._command(own, children)
        begin = time.perf_counter()
        errors = self._folder / "errors"
        self._process = self._stack.enter_context(child(argv, errors=errors, env=environment()))
        for _ in LOOPS:
            self._hear()
        pids = tree(self._process.pid)
        sizes = [memory_kib(pid)[0] for pid in pids]
        return {"ready_ms": (self._since - begin) * 1000, "cpu_ms": cpu_ns(pids) / 1e6, "pss_mib": sum(sizes) / 1024}

    def _hear(self) -> None:
        name, pid = self._ready.recv(256).decode().split()
        self._since = time.perf_counter()
        self._children[name] = int(pid)

    def _idle(self, seconds: float) -> Sample:
        assert self._process is not None
        return idle_sample(tree(self._process.pid), seconds)

    def close(self) -> None:
        """End the supervisor and all its children; they are its descendants, or have told us their pid."""
        if self._process is not None:
            pids = tree(self._process.pid)
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in {*pids, *tree(self._process.pid)}:
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        continue
            self._process = None
        self._stack.close()


def idle_sample(pids: list[int], seconds: float) -> Sample:
    """Watch processes that do nothing for so long."""
    used, woken, begin = cpu_ns(pids), switches(pids), time.perf_counter()
    time.sleep(seconds)
    elapsed = time.perf_counter() - begin
    return {"cpu_us_s": (cpu_ns(pids) - used) / 1000 / elapsed, "wakes": (switches(pids) - woken) / elapsed}


def _supervisord(folder: Path, children: list[str]) -> list[str]:
    config = folder / "supervisord.conf"
    programs = "".join(
        f"[program:{name}]\ncommand={command}\nautorestart=true\nstartretries=1000\n"
        for name, command in zip(LOOPS, children, strict=True)
    )
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/log\npidfile={folder}/pid\nchildlogdir={folder}\n{programs}"
    )
    return [str(script("supervisord")), "-c", str(config)]


def _circus(folder: Path, children: list[str]) -> list[str]:
    config = folder / "circus.ini"
    watchers = "".join(
        f"[watcher:{name}]\ncmd = {command}\ncopy_env = True\nwarmup_delay = 0\n"
        for name, command in zip(LOOPS, children, strict=True)
    )
    config.write_text(
        f"[circus]\nendpoint = ipc://{folder}/e\npubsub_endpoint = ipc://{folder}/p\nstats_endpoint = ipc://{folder}/s\n"
        f"warmup_delay = 0\n{watchers}"
    )
    return [str(script("circusd")), str(config)]


def _scanned(folder: Path, children: list[str]) -> Path:
    scan = folder / "scan"
    for name, command in zip(LOOPS, children, strict=True):
        run = scan / name / "run"
        run.parent.mkdir(parents=True)
        run.write_text(f"#!/bin/sh\nexec {command}\n")
        run.chmod(0o755)
    return scan


def _s6(folder: Path, children: list[str]) -> list[str]:
    """s6-svscan; unpacked, it must find s6-supervise in /usr/bin, so it gets a mount namespace where it is there."""
    scanner = program("s6-svscan")
    argv = ["s6-svscan", str(_scanned(folder, children))]
    if not unpacked(scanner):
        return argv
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *rights, "sh", "-c", OVER_USR_BIN, "sh", str(ROOT / "usr/bin"), *argv]


def _runit(folder: Path, children: list[str]) -> list[str]:
    return [str(program("runsvdir")), str(_scanned(folder, children))]


def opened(command: Command, *modules: str) -> Callable[[Path], AbstractContextManager[Supervised]]:
    """Return what opens a supervisor; it is up from the first burst on."""

    @contextmanager
    def open_supervisor(folder: Path) -> Iterator[Supervised]:
        need_modules(*modules)
        (folder / "try").mkdir()
        command(folder / "try", [""] * len(LOOPS))  # raises PeerMissing
        supervised = Supervised(folder, command)
        try:
            yield supervised
        finally:
            supervised.close()

    return open_supervisor


open_supervisord = opened(_supervisord, "supervisor")
open_circus = opened(_circus, "circus")
open_s6 = opened(_s6)
open_runit = opened(_runit)
