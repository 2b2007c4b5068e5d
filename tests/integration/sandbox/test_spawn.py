"""Forking, reaping, and who dies with whom: real processes, as root and rootless."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import suppress

import pytest
from probes.sandbox_runner import SandboxRunner

from tlsrt.supervisor.process.exit_reason import ExitReason
from tlsrt.supervisor.process.spawn import parse_fdinfo_pid

ALL_GONE_S = 10.0


def test_children_begin_clean_and_end_as_they_say(stage: SandboxRunner) -> None:
    found = stage.run("spawning")
    assert found["exit"] == "exit 5" and found["system_exit"] == "exit 6" and found["large_code"] == "exit 7"
    assert found["error"] == "exit 70" and found["typed"] == "exit 69"
    assert found["inherited"] == "exit 42"
    assert found["running"] and found["killed"] == "SIGKILL" and found["frozen"]
    assert stage.stderr.splitlines() == ["tlsrt: RuntimeError: two lines", "tlsrt: sandbox layer limits: no such luck"]


def test_the_supervisor_is_the_real_parent_and_stays_in_its_namespace(stage: SandboxRunner) -> None:
    found = stage.run("spawning")
    pid, host_pid, host_parent = found["pids"]
    assert found["ours"] and host_parent == found["own_host_pid"] and pid != host_pid


def test_a_second_thread_is_refused(stage: SandboxRunner) -> None:
    assert stage.run("spawning")["threaded"] == "MisuseError: cannot spawn: this process has more than one thread"


def test_process_one_reaps_strangers_but_not_its_children(stage: SandboxRunner) -> None:
    found = stage.run("strangers")
    assert found["reason"] == "exit 0" and found["reaped"] == 1 and found["left"] == "ECHILD"


@pytest.mark.parametrize("victim", ["supervisor", "launcher"])
def test_everything_dies_with_supervisor_or_launcher(stage: SandboxRunner, victim: str) -> None:
    with stage.start("linger") as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        assert len(found["pids"]) == 4  # two children, and a grandchild of another session each
        pidfds = [os.pidfd_open(pid) for pid in (found["supervisor"], *found["pids"])]
        os.kill(found["supervisor"] if victim == "supervisor" else process.pid, signal.SIGKILL)
        end = time.monotonic() + ALL_GONE_S
        gone = [bool(select.select([pidfd], [], [], max(0, end - time.monotonic()))[0]) for pidfd in pidfds]
        for pidfd in pidfds:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        process.communicate(timeout=10)
    assert gone == [True] * 5
    assert process.returncode == (128 + signal.SIGKILL if victim == "supervisor" else -signal.SIGKILL)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (ExitReason(0, None), "exit 0"),
        (ExitReason(1, None), "exit 1"),
        (ExitReason(None, signal.SIGSYS), "SIGSYS"),
        (ExitReason(None, 40), "signal 40"),
    ],
)
def test_exit_reasons_read_well(reason: ExitReason, text: str) -> None:
    assert str(reason) == text


def test_only_the_fdinfo_of_a_pidfd_names_a_pid() -> None:
    assert parse_fdinfo_pid("pos:\t0\nflags:\t02000002\nPid:\t4711\nNSpid:\t4711\t1\n") == 4711
    with pytest.raises(ValueError, match="not the fdinfo"):
        parse_fdinfo_pid("pos:\t0\nNSpid:\t12\n")
