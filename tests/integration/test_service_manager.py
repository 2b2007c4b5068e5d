"""A whole host that a service manager has started: what it says in NOTIFY_SOCKET, and who has the way there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.service_manager import FakeManager
from hosts.running_host import RunningHost

SOCKET_PAIR = "socket:"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeManager]:
    made = FakeManager(tmp_path_factory.mktemp("manager"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(manager: FakeManager) -> Iterator[RunningHost]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SOCKET", str(manager.path))
        patch.setenv("WATCHDOG_USEC", "2000000")
        with RunningHost() as host:
            yield host


def test_ready_means_that_a_call_is_answered_and_the_launcher_says_it(host: RunningHost, manager: FakeManager) -> None:
    manager.until(lambda: "READY=1" in manager.said, "READY=1")
    assert host.client().call("primary/kernel", "uname")
    assert manager.fields["STATUS"].startswith("5 loops, ")
    manager.until(lambda: manager.said.count("WATCHDOG=1") > 1, "two signs of life")
    assert manager.senders == {host.pids()["launcher"]}  # as NotifyAccess=main wants it


def test_without_a_socket_unit_the_manager_keeps_the_door_for_the_next_life(
    host: RunningHost, manager: FakeManager
) -> None:
    manager.until(lambda: "door.kept" in manager.descriptors, "the door's socket")
    with socket.socket(fileno=os.dup(manager.descriptors["door.kept"])) as kept:
        assert kept.getsockname() == ("127.0.0.1", host.port)
        assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_no_other_process_has_the_address_or_the_way_to_the_launcher(host: RunningHost) -> None:
    pids = host.pids()
    ways: dict[str, set[str]] = {}
    for name, pid in pids.items():
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if name != "launcher":
            assert b"NOTIFY_SOCKET" not in environment and b"WATCHDOG" not in environment, name
        ways[name] = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    words = Path(f"/proc/{pids['supervisor']}/cmdline").read_text().split("\0")
    way = os.readlink(f"/proc/{pids['supervisor']}/fd/{words[words.index('--manager') + 1]}")
    assert way.startswith(SOCKET_PAIR)
    assert [name for name, found in ways.items() if way in found] == ["supervisor"]


def test_a_lock_is_in_the_status(host: RunningHost, manager: FakeManager) -> None:
    assert host.cli("lock").returncode == 0
    manager.until(lambda: manager.fields["STATUS"].endswith("locked by operator"), "the lock")
    assert host.cli("unlock").returncode == 0
    manager.until(lambda: manager.fields["STATUS"] == "5 loops, 7 components", "the unlock")


def test_a_reload_is_said_and_a_refused_one_too(host: RunningHost, manager: FakeManager) -> None:
    text = host.config_path.read_text()
    host.config_path.write_text(f"{text}\nnonsense: 1\n")
    try:
        assert host.cli("reload").returncode == 78
    finally:
        host.config_path.write_text(text)
    manager.until(lambda: "unknown key 'nonsense'" in manager.fields["STATUS"], "the refusal")
    assert [line.split("=")[0] for line in manager.after("RELOADING=1")[:3]] == ["MONOTONIC_USEC", "READY", "STATUS"]
    assert host.cli("reload").returncode == 0
    manager.until(lambda: manager.fields["STATUS"] == "5 loops, 7 components", "the reload")


def test_the_last_word_is_that_it_stops(host: RunningHost, manager: FakeManager) -> None:
    assert host.stop() == 0
    manager.until(lambda: "serve still" not in manager.fields["STATUS"], "that no loop serves")
    rest = manager.after("STOPPING=1")
    assert "READY=1" not in rest and int(manager.fields["EXTEND_TIMEOUT_USEC"]) > 30_000_000
