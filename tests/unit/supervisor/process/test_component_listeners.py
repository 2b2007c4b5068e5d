"""Listening sockets that the supervisor keeps for components: over restarts, reloads, and what a process did to one."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
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


def of(listeners: ComponentListeners, process: str = "third.a") -> Mapping[str, int]:
    """Return what a process gets; nothing may be said."""
    said: list[str] = []
    found = listeners.of(process, said.append)
    assert not said
    return found


def shared(descriptor: int) -> socket.socket:
    """Return the socket as the process has it."""
    return socket.socket(fileno=os.dup(descriptor))


def test_only_its_process_inherits_it(held: tuple[ComponentListeners, Listener]) -> None:
    listeners, listener = held
    assert set(of(listeners)) == {listener.key} and of(listeners, "third") == {}
    assert can_connect(listener)


def test_what_a_process_has_ended_listens_again_for_the_next(held: tuple[ComponentListeners, Listener]) -> None:
    listeners, listener = held
    with shared(of(listeners)[listener.key]) as own:
        own.shutdown(socket.SHUT_RDWR)
    assert not can_connect(listener)
    assert of(listeners) and can_connect(listener)


def test_a_port_that_another_has_taken_is_told_each_time_and_had_again_once_it_is_free(
    held: tuple[ComponentListeners, Listener],
) -> None:
    listeners, listener = held
    with shared(of(listeners)[listener.key]) as own:
        own.shutdown(socket.SHUT_RDWR)
    descriptors = len(os.listdir("/proc/self/fd"))
    with socket.create_server((HOST, listener.asked.port)):
        for _ in range(2):
            said: list[str] = []
            found = listeners.of("third.a", said.append)
            assert os.readlink(f"/proc/self/fd/{found[listener.key]}") == os.devnull
            assert len(said) == 1 and "another program already listens" in said[0]
    assert of(listeners) and can_connect(listener)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_the_next_process_finds_no_option_that_the_one_before_has_set(
    held: tuple[ComponentListeners, Listener],
) -> None:
    """And who waits in the backlog is not turned away for it."""
    listeners, listener = held
    found = of(listeners)[listener.key]
    options: list[tuple[int, int, int | bytes]] = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.SOL_SOCKET, socket.SO_REUSEADDR, 0),
        (socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 1000)),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1),
    ]  # fmt: skip
    with shared(found) as own, socket.socket() as client:
        before = [own.getsockopt(level, option, 16) for level, option, _ in options]
        for level, option, value in options:
            own.setsockopt(level, option, value)
        own.setblocking(True)
        client.connect((HOST, listener.asked.port))
        assert of(listeners) == {listener.key: found}
        assert [own.getsockopt(level, option, 16) for level, option, _ in options] == before
        assert not os.get_blocking(own.fileno())
        own.accept()[0].close()


def test_a_datagram_socket_is_another_one_for_each_process() -> None:
    """Its end by shutdown(2), its peer and its options would stay with it."""
    listener = one("in", free_port(socket.SOCK_DGRAM), "udp")
    listeners = ComponentListeners(cast("Any", Wanted((listener,))))
    with shared(of(listeners)[listener.key]) as own:
        own.connect((HOST, 9))
        own.shutdown(socket.SHUT_RDWR)
    with shared(of(listeners)[listener.key]) as own, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        with pytest.raises(OSError, match="not connected"):
            own.getpeername()
        assert own.getsockname() == (HOST, listener.asked.port)
        client.sendto(b"x", own.getsockname())
        own.settimeout(10)
        assert own.recv(1) == b"x"
    listeners.prepare(cast("Any", Wanted()))
    listeners.take()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_copy_that_a_child_has_not_closed_yet_holds_nothing_up(protocol: str) -> None:
    """Between its fork and the closing of descriptors a child of any process has all of them."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    listener = one("in", free_port(kind), protocol)
    listeners = ComponentListeners(cast("Any", Wanted((listener,))))
    with shared(of(listeners)[listener.key]) as stale:
        with suppress(OSError):
            stale.shutdown(socket.SHUT_RDWR)
        stale.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # as a captured process may leave it
        with shared(of(listeners)[listener.key]) as own, socket.socket(socket.AF_INET, kind) as client:
            own.settimeout(10)
            client.connect((HOST, listener.asked.port))
            client.send(b"x")
            if protocol == "tcp":
                own.accept()[0].close()
            else:
                assert own.recv(1) == b"x"
                assert not own.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with socket.socket(socket.AF_INET, kind) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind((HOST, listener.asked.port))
    listeners.prepare(cast("Any", Wanted()))
    listeners.take()


@pytest.mark.parametrize("ends", ["take", "cancel"])
def test_one_that_is_made_anew_while_a_reload_is_under_way_is_kept(
    held: tuple[ComponentListeners, Listener], ends: str
) -> None:
    """And nothing else is closed that has its number by now."""
    listeners, listener = held
    listeners.prepare(cast("Any", Wanted((listener,))))
    with shared(of(listeners)[listener.key]) as own:
        own.shutdown(socket.SHUT_RDWR)
    of(listeners)
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    getattr(listeners, ends)()
    for other in others:
        os.close(other)  # raises for one that is closed
    assert can_connect(listener) and of(listeners)


def test_a_reload_keeps_the_same_socket_makes_new_ones_and_closes_what_is_gone(
    held: tuple[ComponentListeners, Listener],
) -> None:
    listeners, listener = held
    before = of(listeners)[listener.key]
    more = one("more", free_port())
    listeners.prepare(cast("Any", Wanted((listener, more))))
    assert listeners.all == (listener,)
    assert listeners.take() == ([more], [])
    assert of(listeners)[listener.key] == before and can_connect(more)
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


@pytest.mark.parametrize(("group", "level", "option"), [("239.255.77.9", 0, 49), ("ff05::7709", 41, 29)])
def test_a_group_is_heard_on_its_interface_only(group: str, level: int, option: int) -> None:
    """Not where another program of the host has joined it: IP_MULTICAST_ALL, IPV6_MULTICAST_ALL."""
    asked = ListenConfig(
        "in", free_port(socket.SOCK_DGRAM), "it must", HOST, "udp", group=group, interface="lo", where="f:1:1"
    )
    listener = Listener("third.a", "third/a", asked)
    listeners = ComponentListeners(cast("Any", Wanted((listener,))))
    with shared(of(listeners)[listener.key]) as own:
        assert own.getsockopt(level, option) == 0
    listeners.prepare(cast("Any", Wanted()))
    listeners.take()
