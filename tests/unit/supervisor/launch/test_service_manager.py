"""What the launcher takes from a service manager, and the way back."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.service_manager import FakeManager
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import ConfigError
from tlsrt.supervisor.launch.launcher import passed_on
from tlsrt.supervisor.launch.service_manager import Handed, Relay, arguments_of, inherited, take

ALL = {
    "NOTIFY_SOCKET": "/run/notify", "WATCHDOG_PID": "7", "WATCHDOG_USEC": "3000000", "LISTEN_PID": "7",
    "LISTEN_FDS": "2", "LISTEN_FDNAMES": "door:other",
}  # fmt: skip


def test_all_of_it_is_taken_out_of_the_environment() -> None:
    environment = {**ALL, "PATH": "/bin"}
    assert take(environment, 7) == Handed("/run/notify", 3_000_000, (("door", 3), ("other", 4)))
    assert environment == {"PATH": "/bin"}


def test_what_was_meant_for_another_process_is_taken_out_and_not_used() -> None:
    environment = dict(ALL)
    assert take(environment, 8) == Handed("/run/notify")
    assert environment == {}


def test_none_of_it_would_be_passed_on_to_the_supervisor_and_its_loops() -> None:
    assert passed_on(ALL) == {}


def test_an_abstract_socket_is_one_and_another_family_is_refused() -> None:
    assert take({"NOTIFY_SOCKET": "@manager"}, 7).address == "\0manager"
    with pytest.raises(ConfigError, match="'vsock:2:3': only a path"):
        take({"NOTIFY_SOCKET": "vsock:2:3"}, 7)


def test_listeners_without_names_have_none() -> None:
    said = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "door"}
    assert take(said, 7).listeners == (("door", 3), ("", 4))


@given(st.dictionaries(st.sampled_from(sorted(ALL)), st.text(max_size=20)))
def test_any_environment_is_taken_or_refused_with_a_sentence(environment: dict[str, str]) -> None:
    try:
        handed = take(environment, 7)
    except ConfigError:
        return
    assert handed.watchdog_us >= 0 and environment == {}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[FakeManager]:
    made = FakeManager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def relay(manager: FakeManager) -> Iterator[Relay]:
    """One that passes on what comes when a signal says so, as in the launcher."""
    made: list[Relay] = []

    def pass_on(number: int, frame: object) -> None:
        for one in made:
            one.pass_on()

    previous = signal.signal(signal.SIGIO, pass_on)
    made.append(Relay(str(manager.path)))
    yield made[0]
    made.pop().close()
    signal.signal(signal.SIGIO, previous)


def test_what_the_supervisor_says_comes_from_the_launcher_with_descriptors_and_by_a_signal(
    manager: FakeManager, relay: Relay
) -> None:
    reader, writer = os.pipe()
    with socket.socket(fileno=relay.there) as supervisor:
        supervisor.send(b"READY=1\nSTATUS=fine")
        socket.send_fds(supervisor, [b"FDSTORE=1\nFDNAME=kept"], [writer])
        os.close(writer)
        manager.until(lambda: "kept" in manager.descriptors, "the descriptor")
    assert manager.said == ["READY=1", "STATUS=fine", "FDSTORE=1", "FDNAME=kept"]
    assert manager.senders == {os.getpid()}
    os.write(manager.descriptors["kept"], b"x")
    assert os.read(reader, 9) == b"x"
    os.close(reader)


def test_a_manager_that_is_gone_stops_nobody(manager: FakeManager, relay: Relay) -> None:
    away = manager.path.rename(manager.path.with_name("away"))
    with socket.socket(fileno=relay.there) as supervisor:
        supervisor.send(b"READY=1")
    relay.pass_on()
    assert manager.said == []
    away.rename(manager.path)


def test_the_supervisor_is_told_of_descriptors_and_of_no_address(relay: Relay) -> None:
    handed = Handed("/run/notify", 5, (("door", 3), ("", 4)))
    words = arguments_of(handed, relay)
    assert words == ["--manager", str(relay.there), "--watchdog-us", "5", "--passed", "3:door", "--passed", "4:"]
    assert inherited(handed, relay) == [relay.there, 3, 4]
    assert not arguments_of(Handed(), None) and not inherited(Handed(), None)
    os.close(relay.there)
