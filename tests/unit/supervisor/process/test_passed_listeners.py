"""Listening sockets from a service manager: taken at their address, refused at another, kept for the next life."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hosts.running_host import free_port

from tlsrt.config.deception import EndpointConfig
from tlsrt.errors import ConfigError
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
