"""The launcher: namespaces, signals in both directions of fate, and hosts that give no namespace."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from probes.sandbox_runner import MODES, SandboxRunner, make_stage

from tlsrt.command_line.run import folded
from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.launch.launcher import fork, passed_on

CAP_SYS_ADMIN = 21
# A host that gives no namespace at all: every unshare is refused.
REFUSING = """
import sys, errno
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.launch.launcher import launch
def refuse(flags): raise OSError(errno.EPERM, "unshare: Operation not permitted")
syscalls.unshare = refuse
sys.exit(launch(sys.argv[1:], program={program!r}))
"""


@pytest.fixture(params=MODES)
def stage(request: pytest.FixtureRequest) -> Iterator[SandboxRunner]:
    with make_stage(request.param) as made:
        yield made


def line_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def test_of_an_environment_goes_on_what_is_needed() -> None:
    given = {
        "PATH": "/bin", "LC_ALL": "C", "TLSRT_DEBUG": "1", "CREDENTIALS_DIRECTORY": "/run/c", "AWS_SECRET": "x",
        "SSH_AUTH_SOCK": "/s", "LD_PRELOAD": "/evil.so", "PYTHONPATH": "/evil",
    }  # fmt: skip
    assert list(passed_on(given)) == ["PATH", "LC_ALL", "TLSRT_DEBUG", "CREDENTIALS_DIRECTORY"]


def test_signals_reach_the_supervisor_once_and_its_status_comes_back(stage: SandboxRunner) -> None:
    with stage.start("obey", start_new_session=True) as process:
        about = line_of(process)
        assert about["pid"] == 1 and about["session"] and about["arguments"][0] == "--death-pipe"
        assert "--no-pid-namespace" not in about["arguments"]
        assert about["blocked"] == sorted((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))  # only what it blocked itself
        os.kill(process.pid, signal.SIGHUP)
        assert line_of(process) == {"signal": "SIGHUP"}
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
        assert line_of(process) == {"signal": "SIGINT"}
        os.kill(process.pid, signal.SIGTERM)
        out, errors = process.communicate(timeout=10)
    assert out.splitlines() == ['{"signal": "SIGTERM"}'] and errors == ""
    assert process.returncode == 9


def test_a_signal_that_nobody_sends_on_purpose_ends_nothing(stage: SandboxRunner) -> None:
    with stage.start("obey", start_new_session=True) as process:
        line_of(process)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGIO, signal.SIGRTMIN):
            process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    assert out.splitlines() == ['{"signal": "SIGTERM"}'] and process.returncode == 9


def test_no_more_processes_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(SandboxError, match="may have no more processes: end some, or raise the limit"):
        fork()
    assert folded("tlsrt-supervisor", os.fork) == 69
    said = capsys.readouterr().err
    assert said.startswith("tlsrt-supervisor: cannot start a process: ") and said.count("\n") == 1


def test_a_signal_before_the_supervisor_has_handlers_ends_it(stage: SandboxRunner) -> None:
    with stage.start("slow_start") as process:
        line_of(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_signal_at_once_is_not_lost(stage: SandboxRunner) -> None:
    """Before the launcher runs any of its code the default action ends it, later the supervisor."""
    with stage.start("slow_start") as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_death_by_signal_is_told_as_shells_do(stage: SandboxRunner) -> None:
    with stage.start("slow_start") as process:
        os.kill(line_of(process)["host_pid"], signal.SIGKILL)
        out, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGKILL and (out, errors) == ("", "")


def test_without_namespace_the_supervisor_is_told_why(stage: SandboxRunner) -> None:
    with stage.start("obey", launch=REFUSING) as process:
        about = line_of(process)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=10)
    at = about["arguments"].index("--no-pid-namespace")
    reason = "cannot make a pid namespace: unshare: Operation not permitted"
    both = f"{reason}; nor in a user namespace: {reason}"
    assert about["arguments"][at + 1] == (both if os.geteuid() == 0 and stage.mode == "root" else reason)
    assert about["pid"] == about["host_pid"] != 1
    assert process.returncode == 9 and errors == "" and "SIGTERM" in out


def test_root_of_a_container_without_the_capability_gets_a_user_namespace() -> None:
    if os.geteuid() != 0:
        return  # whoever is no root gets one anyway: all tests of mode rootless
    with make_stage("root") as stage:
        drop = partial(syscalls.prctl, syscalls.PR_CAPBSET_DROP, CAP_SYS_ADMIN)
        with stage.start("obey", preexec_fn=drop) as process:
            about = line_of(process)
            one_id = Path(f"/proc/{about['host_pid']}/uid_map").read_text().split()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
    assert "--no-pid-namespace" not in about["arguments"] and about["pid"] == 1
    assert one_id == ["0", "0", "1"], "as rootless: one uid, and all namespaces"


def test_the_supervisor_without_namespace_still_dies_with_the_launcher(stage: SandboxRunner) -> None:
    with stage.start("slow_start", launch=REFUSING) as process:
        pidfd = os.pidfd_open(line_of(process)["host_pid"])
        process.kill()
        is_gone = bool(select.select([pidfd], [], [], 10.0)[0])
        os.close(pidfd)
        process.communicate(timeout=10)
    assert is_gone


def test_it_starts_light() -> None:
    """What the launcher imports is paid at every start, before the supervisor's own imports."""
    program = "import sys; import tlsrt.supervisor.launch.launcher; print(*sorted(sys.modules))"
    names = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True, check=True)
    loaded = set(names.stdout.split())
    heavy = {"asyncio", "cryptography", "yaml", "zmq", "msgpack", "psutil", "subprocess", "threading", "hashlib"}
    assert "ctypes" in loaded and not heavy & loaded
