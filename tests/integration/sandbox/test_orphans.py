"""What a dead process has left behind, without control groups: descendants that hide, and their end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hosts.running_host import RunningHost
from probes.sandbox_runner import MODES

from tlsrt.sandbox.cgroup.orphans import Orphans, left_behind, mark_of

# A process with a namespace of its own; its grandchild has a session of its own, and ignores what can be ignored.
_PARENT = """
import os, signal, sys
from tlsrt.sandbox import syscalls
syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWUTS)
if os.fork() == 0:
    os.setsid()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try: signal.signal(number, signal.SIG_IGN)
        except OSError: pass
    if os.fork(): os._exit(0)
    print(os.getpid(), flush=True)
    while True: signal.pause()
while True: signal.pause()
"""


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        yield process, int(process.stdout.readline())
        process.kill()


def test_a_grandchild_that_hides_is_found_by_the_namespace_and_killed(
    parent: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, grandchild = parent
    mark = mark_of(process.pid)
    assert mark is not None and mark.kind == "uts"
    remains = Orphans()
    remains.note("third", process.pid)
    assert {*left_behind(mark)} == {process.pid, grandchild}
    process.kill()
    process.wait()
    assert {*left_behind(mark)} == {grandchild}, "it outlives its parent"
    pidfd = os.pidfd_open(grandchild)
    assert not remains.clear("third"), "somebody was there"
    assert select.select([pidfd], [], [], 10)[0], "and is no more"
    os.close(pidfd)
    assert remains.clear("third") and {*left_behind(mark)} == set()
    remains.forget("third")
    assert remains.clear("third")


def test_a_process_like_us_has_no_mark_and_nobody_is_killed_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        remains = Orphans()
        remains.note("third", process.pid)
        assert mark_of(process.pid) is None
        assert remains.clear("third") and process.poll() is None
        process.kill()


@pytest.mark.parametrize(
    ("mode", "layers"), [(MODES[0], ["cgroup", "pid_namespace"]), (MODES[-1], ["cgroup"])], ids=lambda value: str(value)
)
def test_a_host_without_control_groups_restarts_its_loops_and_leaves_nobody(mode: str, layers: list[str]) -> None:
    with RunningHost(mode=mode, extra={"sandbox": {"waive": dict.fromkeys(layers, "a test")}}) as host:
        assert "no cgroup (waived: a test)" in host.status()["limits"]
        for loop in ("third", "primary"):
            host.respawn(loop)
        host.kill("secondary", signal.SIGSTOP)
        host.wait_for("^secondary +died +heartbeat")
        host.wait_for("^secondary +active", after=len(host.console) - 1)
