"""Attacked sentence: a loop that makes another process is found from outside, even where no filter stops it.

A real host that can give no filters, and whose operator has waived them: only the look from outside is left.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt.errors import CallError
from tlsrt.sandbox.verify.run_count import FULL_LOOKS
from tlsrt.supervisor.supervision.watchdog import ATTEST_ROUND_S

PARENT = "third/parent"
WITHOUT_FILTERS = """
import errno, os, sys
from tlsrt.sandbox.seccomp import install
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.seccomp.bpf import ALLOW, Rule, assemble, errno_action
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
machine = os.uname().machine
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
install.install(assemble(machine, {NUMBERS[machine]["seccomp"]: Rule((), errno_action(errno.ENOSYS))}, ALLOW))
os.execv(sys.argv[1], sys.argv[1:])
"""
WAIVED = dict.fromkeys(("seccomp", "seccomp_sealed", "seccomp_reports"), "a test of what is seen without it")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE],
        components={PARENT: {"class": "captured.parent:Parent", "process": "shared", "needs": {"threads": 4}}},
        policy={f"client/admin -> {PARENT}": "*"}, extra={"sandbox": {"waive": WAIVED}},
        witness=[sys.executable, "-c", WITHOUT_FILTERS],
    )  # fmt: skip


def test_threads_are_no_company(host: RunningHost) -> None:
    before, client = host.loop("third"), host.client()
    assert client.call(PARENT, "think", 4) == 4
    host.until(lambda document: host.loop("third")["frames"]["in"] > before["frames"]["in"], "a beat more")
    assert host.loop("third")["pid"] == before["pid"] and host.loop("third")["anomaly"] == 0


def test_a_process_whose_parent_is_gone_is_found_and_ends_its_loop(host: RunningHost) -> None:
    before = host.loop("third")
    with suppress(CallError):
        host.client().call(PARENT, "bear")
    host.until(lambda document: host.loop("third")["restarts"] > before["restarts"], "the next third")
    host.until(lambda document: host.loop("third")["state"] == "active", "an active third")
    death = host.loop("third")["last_death"]
    assert death["cause"] == "attestation" and "it has made a process: " in death["sentence"]
    assert "attestation" in host.cli("anomalies").stdout and host.status()["lock"] is None


def test_a_thread_that_slept_through_many_looks_and_then_changes_itself_ends_its_loop(host: RunningHost) -> None:
    host.client().call(PARENT, "sleep")
    before = host.loop("third")
    time.sleep(FULL_LOOKS * ATTEST_ROUND_S)  # in which it is not looked at, but once
    assert host.loop("third")["pid"] == before["pid"]
    with suppress(CallError):
        host.client().call(PARENT, "wake")
    began = time.monotonic()
    host.until(lambda document: host.loop("third")["restarts"] > before["restarts"], "the next third")
    assert time.monotonic() - began < FULL_LOOKS * ATTEST_ROUND_S / 2, "found by its turn, and not for having run"
    death = host.loop("third")["last_death"]
    assert death["cause"] == "attestation" and " filters, not mode " in death["sentence"]
