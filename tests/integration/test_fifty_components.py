"""Fifty components, each in a process of its own, on one host: they start, answer, are restarted alone, and stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
from hosts.running_host import RunningHost

PACKAGE = Path(__file__).parents[2] / "examples" / "notes" / "notes"
ADDRESSES = [f"{('secondary', 'third', 'forth')[number % 3]}/notes{number}" for number in range(50)]


def test_fifty_start_answer_come_again_alone_and_stop() -> None:
    components = {address: {"class": "notes:Notes"} for address in ADDRESSES}
    policy = {f"client/admin -> {address}": "*" for address in ADDRESSES}
    with RunningHost(components=components, policy=policy, packages=[PACKAGE]) as host:
        pids = host.pids()
        names = [address.replace("/", ".") for address in ADDRESSES]
        own = {name: pids[name] for name in names}
        uids = {psutil.Process(pid).uids().real for pid in own.values()}
        assert len({*own.values()}) == 50
        assert len(uids) == (50 if os.geteuid() == 0 else 1)
        with host.client() as client:
            for address in ADDRESSES:
                assert client.call(address, "add", "here") == 1
        os.kill(own[names[7]], signal.SIGKILL)
        host.until(
            lambda document: any(
                one["name"] == names[7] and one["state"] == "active" and one["pid"] != own[names[7]]
                for one in document["loops"]
            ),
            "another process of one of them",
        )
        after = host.pids()
        assert {name for name, pid in pids.items() if after[name] != pid} == {names[7]}
        with host.client() as client:
            assert [client.call(address, "add", "again") for address in ADDRESSES] == [
                1 if number == 7 else 2 for number in range(50)
            ]
    assert not [pid for pid in after.values() if psutil.pid_exists(pid)]
