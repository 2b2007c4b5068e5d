"""Listening sockets that the supervisor keeps for components: over restarts, reloads, and what a process did to one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from tlsrt.config.listeners import ListenConfig, Listener
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.component_listeners import ComponentListeners

HOST = "127.0.0.3"  # a test beside this one has no reason to listen there


@dataclass
class Wanted:
    """A configuration, as far as it matters here."""

    listeners: tuple[Listener, ...] = ()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def one(name: str, port: int, protocol: Any = "tcp") -> Listener:
    return Listener("third.a", "third/a", ListenConfig(name, port, "it must", HOST, protocol, where="f:1:1"))


@pytest.fixture
def held() -> Iterator[tuple[ComponentListeners, Listener]]:
    listener = one("in", free_port())
    listeners = ComponentListeners(cast("Any", Wanted((listener,))))
    yield listeners, listener
    listeners.prepare(cast("Any", Wanted()))
    listeners.take()


def can_connect(listener: Listener) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, listener.asked.port)) == 0


def test_only_its_process_inherits_it(held: tuple[ComponentListeners, Listener]) -> None:
    listeners, listener = held
    assert set(listeners.of("third.a")) == {listener.key} and listeners.of("third") == {}
    assert can_connect(listener)


def test_what_a_process_has_ended_listens_again_for_the_next(held: tuple[ComponentListeners, Listener]) -> None:
    listeners, listener = held
    with socket.socket(fileno=os.dup(listeners.of("third.a")[listener.key])) as shared:
        shared.shutdown(socket.SHUT_RDWR)
    assert not can_connect(listener)
    assert listeners.of("third.a") and can_connect(listener)


def test_a_datagram_socket_forgets_whom_the_process_before_had_connected_it_to() -> None:
    listener = one("in", free_port(socket.SOCK_DGRAM), "udp")
    listeners = ComponentListeners(cast("Any", Wanted((listener,))))
    with socket.socket(fileno=os.dup(listeners.of("third.a")[listener.key])) as shared:
        shared.connect((HOST, 9))
        listeners.of("third.a")
        with pytest.raises(OSError, match="not connected"):
            shared.getpeername()
        assert shared.getsockname() == (HOST, listener.asked.port)
    listeners.prepare(cast("Any", Wanted()))
    listeners.take()


def test_a_reload_keeps_the_same_socket_makes_new_ones_and_closes_what_is_gone(
    held: tuple[ComponentListeners, Listener],
) -> None:
    listeners, listener = held
    before = listeners.of("third.a")[listener.key]
    more = one("more", free_port())
    listeners.prepare(cast("Any", Wanted((listener, more))))
    assert listeners.all == (listener,)
    assert listeners.take() == ([more], [])
    assert listeners.of("third.a")[listener.key] == before and can_connect(more)
    listeners.prepare(cast("Any", Wanted((listener,))))
    listeners.cancel()
    assert can_connect(more)
    listeners.prepare(cast("Any", Wanted((listener,))))
    assert listeners.take() == ([], [more]) and not can_connect(more) and can_connect(listener)


def test_a_place_that_is_taken_leaves_all_as_it_was(held: tuple[ComponentListeners, Listener]) -> None:
    listeners, listener = held
    descriptors = len(os.listdir("/proc/self/fd"))
    with socket.create_server((HOST, 0)) as other:
        taken, free = one("taken", other.getsockname()[1]), one("free", free_port())
        with pytest.raises(ConfigError, match=r"f:1:1: another program already listens on 127.0.0.3:\d+: stop it"):
            listeners.prepare(cast("Any", Wanted((listener, free, taken))))
    assert listeners.take() == ([], []) and can_connect(listener) and not can_connect(free)
    assert len(os.listdir("/proc/self/fd")) == descriptors
