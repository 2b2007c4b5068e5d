"""The fork server of a running host: who is born of it, and what becomes of the host without it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import PACKAGE, edit, reload, seal_host
from hosts.running_host import RunningHost, running

MORE_KIB = 2048  # than the one before; what the supervisor forks itself has 3000 to 7000 more


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, packages=[PACKAGE])


def add_component(document: dict[str, Any]) -> None:
    document["components"] = {**(document.get("components") or {}), "third/probed": {"class": "probed:Probed"}}
    document["policy"]["client/admin -> third/probed"] = "*"


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


def spare(host: RunningHost) -> int | None:
    pid: int | None = host.status()["supervisor"]["spare_fork_server"]
    return pid


def holds(pid: int, words: bytes) -> bool:
    """Tell whether words lie anywhere in the memory of a process."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if rights.startswith("rw"):
                first, last = (int(number, 16) for number in place.split("-"))
                memory.seek(first)
                try:
                    if words in memory.read(last - first):
                        return True
                except OSError:
                    continue
    return False


def tell_the_supervisor(host: RunningHost, words: str) -> None:
    """Have it refuse a reload for an option of this name, which it remembers among its events."""
    was = host.config_path.read_text()
    host.config_path.write_text(f"{was}\n{words}: 1\n")
    assert host.cli("reload").returncode != 0
    host.config_path.write_text(was)
    host.told(words)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_one_that_is_lost_is_replaced_at_once_by_one_as_clean(host: RunningHost, number: signal.Signals) -> None:
    host.until(lambda status: status["supervisor"]["spare_fork_server"] is not None, "a spare")
    pid, next_one, others = fork_server(host), spare(host), host.pids()
    assert pid is not None and next_one is not None
    words = f"heard_since_{number.name}"
    tell_the_supervisor(host, words)
    before = private_kib(others.pop("forth"))
    os.kill(pid, number)
    host.respawn("forth")
    host.told('"fork_server_replaced"')
    found = host.until(lambda status: status["supervisor"]["spare_fork_server"] not in (None, next_one), "a new spare")
    assert found["supervisor"]["fork_server"] == next_one
    again = host.pids()
    assert private_kib(again.pop("forth")) < before + MORE_KIB
    assert again == others  # nobody else was restarted
    newest = spare(host)
    assert newest is not None
    assert [holds(one, words.encode()) for one in (others["supervisor"], next_one, newest)] == [True, False, False]


def test_the_end_of_the_spare_is_told_as_that(host: RunningHost) -> None:
    host.until(lambda status: status["supervisor"]["spare_fork_server"] is not None, "a spare")
    active, lost = fork_server(host), spare(host)
    assert lost is not None
    os.kill(lost, signal.SIGKILL)
    said = [line for line in host.told('"spare_server_ended"').splitlines() if f'"pid": {lost}' in line]
    assert len(said) == 1 and "SIGKILL" in said[0] and "spare_server_ended" in said[0], said
    found = host.until(lambda status: status["supervisor"]["spare_fork_server"] not in (None, lost), "another spare")
    assert found["supervisor"]["fork_server"] == active


def test_when_both_are_lost_another_begins_and_no_birth_is_lost(host: RunningHost) -> None:
    host.until(lambda status: status["supervisor"]["spare_fork_server"] is not None, "a spare")
    pids = host.all_pids()
    before = private_kib(pids["forth"])
    both = {pids[name] for name in ("spare_server", "fork_server")}
    for pid in both:
        os.kill(pid, signal.SIGSTOP)  # so that none is renewed meanwhile
    for pid in both:
        os.kill(pid, signal.SIGKILL)
    host.respawn("forth")
    assert host.loop("forth")["state"] == "active"
    assert host.told('"fork_server_lost"').count('"fork_server_lost"') == 1
    host.told('"fork_server_began"')
    found = host.until(lambda status: status["supervisor"]["spare_fork_server"] is not None, "both again")
    servers = found["supervisor"]
    assert not both & {servers["fork_server"], servers["spare_fork_server"]}
    assert line_of(servers["fork_server"], "status", "Name") == "fork_server"
    edit(host, add_component)
    seal_host(host)
    reload(host)
    assert host.client().call("third/probed", "add", 1) == 1
    host.respawn("forth")
    again = host.pids()["forth"]
    assert line_of(again, "status", "PPid") == str(pids["supervisor"])
    assert private_kib(again) < before + MORE_KIB, "it shares the rest with the one that forked it"
    assert fork_server(host) == servers["fork_server"]
