"""Processes of the bench: children that die with their parent, CPU clocks and memory of other processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1
_CPUCLOCK_SCHED = 2  # of the whole process, threads that ended included: clock_getcpuclockid(3)
_LIBC = ctypes.CDLL(None)
POLL_S = 0.01


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def child(
    argv: Sequence[str], *, talk: bool = False, listen: bool = False, errors: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """Run a command in a session of its own, and end it: `talk` gives it a stdin, `listen` pipes its stdout."""
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with open(errors or os.devnull, "ab") as stderr:
        process = subprocess.Popen(
            argv, stdin=pipe if talk else null, stdout=pipe if listen else stderr, stderr=stderr, env=env,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    try:
        yield process
    finally:
        stop(process)


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this checkout; `child` needs `python_environment` with it."""
    return [sys.executable, "-m", name, *arguments]


def python_environment() -> dict[str, str]:
    """Return an environment in which `bench` can be imported."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def stop(process: subprocess.Popen[bytes], timeout_s: float = 10.0) -> None:
    """Ask a child to end, insist after the timeout, and close its pipes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                continue
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def wait_until(ready: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Ask again and again until it is so; raise RuntimeError after the timeout."""
    limit = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > limit:
            raise RuntimeError(f"{what}: not in {timeout_s:g} s")
        time.sleep(POLL_S)


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many busy loops running beside the bench."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(child([sys.executable, "-I", "-S", "-c", "while True: pass"]))
        yield


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants: proc_pid_task_children(5)."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for one in children:
            found += tree(int(one))
    return found


def threads(pids: Iterable[int]) -> list[int]:
    """Return the ids of all threads of these processes."""
    return [int(path.name) for pid in pids for path in Path(f"/proc/{pid}/task").glob("*")]


def cpu_ns(pids: Iterable[int]) -> int:
    """Return the CPU time that these processes have used, ns; one that has gone counts nothing."""
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
        except OSError:
            continue
    return total


def switches(pids: Iterable[int]) -> int:
    """Return how often all threads of these processes have gone to sleep by themselves: their wake-ups so far."""
    total = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/status"):
            for line in path.read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
    return total


def memory_kib(pid: int) -> tuple[int, int]:
    """Return (PSS, USS) of a process, KiB: proc_pid_smaps(5)."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        found[name] = int(value)
    return found["Pss:"], found["Private_Clean:"] + found["Private_Dirty:"]
