"""Listening sockets from a service manager: taken at their address, refused at another, kept for the next life."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import free_port

from tlsrt.config.deception import EndpointConfig
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.listeners import DECOY_BUFFER
from tlsrt.supervisor.process.passed_listeners import PassedListeners


@dataclass
class Ears:
    said: list[tuple[str, list[int]]] = field(default_factory=list[Any])

    def say(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        self.said.append((message.decode().replace("\n", " "), list(descriptors)))


def listening(port: int) -> int:
    return socket.create_server(("127.0.0.1", port)).detach()


def place(port: int) -> EndpointConfig:
    return EndpointConfig(host="127.0.0.1", port=port)


def test_the_socket_of_a_socket_unit_is_taken_and_not_kept() -> None:
    port, ears = free_port(), Ears()
    passed = listening(port)
    listeners = PassedListeners(ears, [("decoy", passed)])
    assert listeners.decoy(place(port)) == passed
    assert not os.get_blocking(passed) and not os.get_inheritable(passed)
    listeners.settle()
    assert ears.said == []
    os.close(passed)


def test_one_at_another_address_is_refused_with_both() -> None:
    port, wanted = free_port(), free_port()
    passed = listening(port)
    with pytest.raises(ConfigError, match=rf"decoy on 127.0.0.1 port {port}, and .* 127.0.0.1 and {wanted}"):
        PassedListeners(Ears(), [("decoy", passed)]).decoy(place(wanted))
    os.close(passed)


def test_what_listens_nowhere_is_refused() -> None:
    one = socket.socket(socket.AF_UNIX)
    with pytest.raises(ConfigError, match="no listening TCP socket"):
        PassedListeners(Ears(), [("decoy", one.fileno())]).decoy(place(7443))
    one.close()


def test_without_one_ours_is_made_and_kept_and_the_next_life_takes_it() -> None:
    port, ears = free_port(), Ears()
    listeners = PassedListeners(ears)
    made = listeners.decoy(place(port))
    listeners.settle()
    assert ears.said == [("FDSTORE=1 FDPOLL=0 FDNAME=decoy.kept", [made])]
    assert PassedListeners(Ears(), [("decoy.kept", made)]).decoy(place(port)) == made
    os.close(made)


def test_a_kept_one_of_another_address_and_what_nobody_wants_are_closed() -> None:
    ears = Ears()
    old, other = listening(free_port()), listening(free_port())
    listeners = PassedListeners(ears, [("decoy.kept", old), ("door.kept", other)])
    made = listeners.decoy(place(free_port()))
    listeners.settle()
    assert [said for said, _ in ears.said][:2] == [
        "FDSTOREREMOVE=1 FDNAME=decoy.kept", "FDSTOREREMOVE=1 FDNAME=door.kept",
    ]  # fmt: skip
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(other)
    os.close(made)


def test_an_address_is_compared_as_one_and_a_passed_decoy_gets_our_small_buffers() -> None:
    made = socket.create_server(("::1", 0), family=socket.AF_INET6)
    port = made.getsockname()[1]
    endpoint = EndpointConfig(host="0:0:0:0:0:0:0:1", port=port)
    with made:
        assert PassedListeners(Ears(), [("decoy", made.fileno())]).decoy(endpoint) == made.fileno()
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * DECOY_BUFFER


def test_what_takes_ipv4_too_and_what_is_no_tcp_are_refused() -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as dual,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        for one, host in ((dual, "::"), (datagrams, "0.0.0.0")):
            endpoint = EndpointConfig(host=host, port=one.getsockname()[1])
            with pytest.raises(ConfigError, match="no listening TCP socket, or one of IPv6 that takes IPv4 too"):
                PassedListeners(Ears(), [("decoy", one.fileno())]).decoy(endpoint)


def test_a_fifo_is_refused_with_a_sentence_and_nothing_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    passed = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match="no listening TCP socket"):
        PassedListeners(Ears(), [("decoy", passed)]).decoy(place(7443))
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(passed)
