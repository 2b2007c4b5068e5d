"""Attacked sentence: what foreign code does when it is imported, before the seal, escapes no filter.

Three loops that an operator declared, each with a component that does something at its import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost
from probes.descriptors import descriptors_of
from probes.sandbox_runner import MODES

LOOPS = ("threaded", "filtered", "ringed")
COMPONENTS = {
    "threaded/guest": {"class": "captured.with_a_thread:Guest", "process": "shared"},
    "filtered/guest": {"class": "captured.with_a_filter:Guest", "process": "shared"},
    "ringed/guest": {"class": "captured.with_a_ring:Guest", "process": "shared"},
}
# Who dies twice is given up, so that the test need not wait for ten times.
IMPATIENT = {"restart": {"deaths": 2}}


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    host = RunningHost(
        components=COMPONENTS, policy={"client/admin -> ringed/guest": "*"}, packages=[PACKAGE], mode=request.param,
        extra={"loops": {name: {} for name in LOOPS}, "supervision": IMPATIENT},
    )  # fmt: skip
    try:
        host.start(until="^(threaded|filtered) +failed")
        for loop in ("threaded", "filtered"):
            host.wait_for(f"^{loop} +failed")
        host.wait_for("^ready ")
        yield host
        if request.session.testsfailed > failed:
            host.print_logs()
    finally:
        host.close()


def test_a_thread_that_is_older_than_the_filter_is_refused(host: RunningHost) -> None:
    loop = host.loop("threaded")
    assert loop["state"] == "failed"
    assert "threaded/guest started a thread before the sandbox was sealed" in loop["last_death"]["sentence"]
    said = "component threaded/guest: the import of captured.with_a_thread started a thread"
    assert said in host.log("threaded") and said in loop["last_death"]["said"]


def test_a_filter_of_ones_own_ends_the_loop(host: RunningHost) -> None:
    loop = host.loop("filtered")
    assert loop["state"] == "failed" and loop["last_death"]["sentence"].startswith("violation: seccomp(")


def test_nobody_gets_a_ring(host: RunningHost) -> None:
    client = host.client()
    assert client.call("ringed/guest", "ring") == "ENOSYS"
    assert client.call("ringed/guest", "made") == "uvloop", "libuv does without"


if os.geteuid() == 0:

    def test_no_process_holds_a_descriptor_of_a_ring(host: RunningHost) -> None:
        pids = {name: pid for name, pid in host.pids().items() if name not in ("launcher", "supervisor")}
        assert {"authority", "primary", "external", "ringed"} <= set(pids)
        for name, pid in pids.items():
            held = descriptors_of(pid).values()
            assert held and not [one for one in held if "io_uring" in one], name
