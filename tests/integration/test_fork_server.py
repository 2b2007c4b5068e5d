"""The fork server of a running host: who is born of it, and what becomes of the host without it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.running_host import RunningHost, running

MORE_KIB = 2048  # than the one before; what the supervisor forks itself has 3000 to 7000 more


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


def fork_server(host: RunningHost) -> int | None:
    pid: int | None = host.status()["supervisor"]["fork_server"]
    return pid


def line_of(pid: int, file: str, name: str) -> str:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(line for line in lines if line.startswith(name)).partition(":")[2].strip()


def private_kib(pid: int) -> int:
    return sum(int(line_of(pid, "smaps_rollup", name).split()[0]) for name in ("Private_Dirty", "Private_Clean"))


def test_it_is_named_and_holds_no_socket_but_its_channel_and_no_file(host: RunningHost) -> None:
    pid = fork_server(host)
    assert pid is not None
    assert line_of(pid, "status", "Name") == "fork_server"
    held = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd") if int(name) > 2]
    assert sorted(one.partition(":")[0] for one in held) == ["anon_inode", "socket"], held  # the pidfd of its parent


def test_a_loop_that_comes_again_is_the_supervisors_child_and_shares_as_before(host: RunningHost) -> None:
    pids = host.pids()
    before = private_kib(pids["forth"])
    host.respawn("forth")
    again = host.pids()["forth"]
    assert line_of(again, "status", "PPid") == str(pids["supervisor"])
    assert private_kib(again) < before + MORE_KIB


def test_without_it_the_supervisor_forks_by_itself_and_tells(host: RunningHost) -> None:
    pid = fork_server(host)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    host.told('"fork_server_lost"')
    host.respawn("forth")
    assert fork_server(host) is None
    assert host.loop("forth")["state"] == "active"
