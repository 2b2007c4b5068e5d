"""Attacked sentence: a sandbox layer that cannot be had is refused by its name, with exit code 69, and nothing runs.

A filter around everything, as a container's, takes one system call away from the whole start.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hosts.running_host import RunningHost
from probes.sandbox_runner import MODES, become_nobody

from tlsrt.sandbox import syscalls
from tlsrt.sandbox.seccomp import install
from tlsrt.sandbox.seccomp.bpf import ALLOW, Rule, assemble, errno_action
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

MACHINE = os.uname().machine
TIMEOUT_S = 30.0
# The call, its answer, and the layer that the one sentence names.
CASES = {
    "root": [
        ("landlock_create_ruleset", errno.ENOSYS, "landlock"),
        ("seccomp", errno.ENOSYS, "seccomp"),
        ("unshare", errno.EPERM, "pid_namespace"),
        ("setns", errno.EPERM, "pid_namespace"),
        ("pidfd_open", errno.ENOSYS, "pidfd"),
        ("waitid", errno.ENOSYS, "pidfd"),
        ("pidfd_getfd", errno.EPERM, "seccomp"),
        ("memfd_create", errno.ENOSYS, "descriptors"),
        ("close_range", errno.ENOSYS, "descriptors"),
        ("mount_setattr", errno.ENOSYS, "mount_namespace"),
        ("capset", errno.EPERM, "capabilities"),
    ],
    "rootless": [
        ("landlock_restrict_self", errno.EPERM, "landlock"),
        ("seccomp", errno.EPERM, "seccomp"),
        ("unshare", errno.EPERM, "pid_namespace"),
        ("setns", errno.EPERM, "pid_namespace"),
        ("pidfd_getfd", errno.EPERM, "seccomp"),
        ("pivot_root", errno.EPERM, "mount_namespace"),
    ],
}


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, RunningHost]]:
    made = {mode: RunningHost(mode=mode) for mode in MODES}
    yield made
    for host in made.values():
        host.close()


def without(call: str, number: int, mode: str) -> Callable[[], None]:
    """Return what a child does before its exec: become who starts, and lose a call."""
    program = assemble(MACHINE, {NUMBERS[MACHINE][call]: Rule((), errno_action(number))}, ALLOW)

    def lose() -> None:
        if mode == "rootless" and os.geteuid() == 0:
            become_nobody()
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        install.install(program)

    return lose


@pytest.mark.parametrize(("mode", "call", "answer", "layer"), [(mode, *case) for mode in MODES for case in CASES[mode]])
def test_a_start_without_a_call_is_refused_by_the_layers_name(
    hosts: dict[str, RunningHost], mode: str, call: str, answer: int, layer: str
) -> None:
    host = hosts[mode]
    done = subprocess.run(
        [str(host.python), "-I", "-B", "-m", "tlsrt.supervisor.cli.main", "start", "--config", str(host.config_path)],
        capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, cwd=host.base,
        preexec_fn=without(call, answer, mode),
    )  # fmt: skip
    assert done.returncode == 69, done.stdout + done.stderr
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("tlsrt-supervisor: sandbox layer ") and f"layer {layer}" in sentence
    assert " active " not in done.stdout and "ready " not in done.stdout
