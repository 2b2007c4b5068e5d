"""Process 1 of a container, in a pid namespace that a test makes: signals, orphans, and the exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tools.programs import need

PROGRAM = """
import os, signal, sys
from tlsrt.supervisor.launch.first_process import stay_behind_if_first
ended = stay_behind_if_first()
if ended is not None:
    sys.exit(ended)
reader, writer = os.pipe()
if os.fork() == 0:  # an orphan: its parent ends first, and process 1 has to reap it
    if (orphan := os.fork()) == 0:
        os._exit(0)
    os.write(writer, str(orphan).encode())
    os._exit(0)
os.wait()
orphan = int(os.read(reader, 16))
try:
    while True:
        os.kill(orphan, 0)
except ProcessLookupError:
    pass
signal.signal(signal.SIGHUP, lambda number, frame: print("SIGHUP", flush=True))
signal.signal(signal.SIGTERM, lambda number, frame: os._exit(7))
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP, signal.SIGTERM))
print(os.getpid(), os.getppid(), os.getpgid(0) == os.getpid(), flush=True)
while True:
    signal.pause()
"""


def start() -> subprocess.Popen[str]:
    need("unshare")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return subprocess.Popen(
        ["unshare", *user, "--pid", "--fork", "--kill-child", sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def first_of(process: subprocess.Popen[str]) -> int:
    """Return the pid, as seen here, of its process 1."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return int(file.read().split()[0])


def test_signals_are_handed_on_orphans_reaped_and_the_status_is_that_of_the_launcher() -> None:
    with start() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "2 1 True\n"  # printed when the orphan has been reaped
        os.kill(first_of(process), signal.SIGHUP)
        assert process.stdout.readline() == "SIGHUP\n"
        os.kill(first_of(process), signal.SIGTERM)
        assert process.wait(30) == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_launcher_that_is_killed_is_told_as_shells_tell_it(number: signal.Signals) -> None:
    with start() as process:
        assert process.stdout is not None
        process.stdout.readline()
        with open(f"/proc/{first_of(process)}/task/{first_of(process)}/children") as file:
            os.kill(int(file.read().split()[0]), number)
        assert process.wait(30) == 128 + number
