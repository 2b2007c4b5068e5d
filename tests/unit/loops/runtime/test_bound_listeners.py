"""Libraries that bind by themselves: they get the listener of exactly that place, and no other socket is bound."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

import pytest

from tlsrt.config.listeners import ListenConfig, Listener
from tlsrt.loops.runtime.bound_listeners import BoundListeners, Inherited, inherited_by

Protocol = Literal["tcp", "udp"]
Installed = Callable[..., BoundListeners]


def _held(kind: socket.SocketKind) -> tuple[socket.socket, int]:
    """Return a socket as the supervisor binds it, and its port."""
    held = socket.socket(socket.AF_INET, kind)
    held.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        held.listen()
    return held, held.getsockname()[1]


def _asked(port: int, protocol: Protocol = "tcp", host: str = "127.0.0.1") -> ListenConfig:
    return ListenConfig("web", port, "a test", host=host, protocol=protocol)


@pytest.fixture
def installed() -> Iterator[Installed]:
    found: list[BoundListeners] = []

    def install(*listeners: Inherited, makes_sockets: bool = False) -> BoundListeners:
        found.append(BoundListeners(listeners, makes_sockets=makes_sockets))
        found[-1].install()
        return found[-1]

    yield install
    for one in found:
        one.remove()


@pytest.mark.parametrize("makes_sockets", [False, True])
def test_a_server_of_asyncio_by_host_and_port_serves_on_the_listener(installed: Installed, makes_sockets: bool) -> None:
    held, port = _held(socket.SOCK_STREAM)
    real = socket.socket.__init__, socket.socket.bind

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        writer.close()

    async def ask() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", port, reuse_port=True)
        installing.remove()  # the client is another process
        async with server:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"ping")
            answer = await reader.read()
            writer.close()
        return answer

    with held:
        installing = installed(Inherited(_asked(port), held.fileno()), makes_sockets=makes_sockets)
        assert asyncio.run(ask()) == b"ping"
        assert held.fileno() >= 0 and held.getsockname()[1] == port  # ours is as it was
    assert (socket.socket.__init__, socket.socket.bind) == real


def test_a_datagram_socket_is_the_one_of_the_grant_under_its_own_number(installed: Installed) -> None:
    held, port = _held(socket.SOCK_DGRAM)
    number = held.detach()
    installed(Inherited(_asked(port, "udp"), number))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(5)
        own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)  # has no effect before it is bound
        own.bind(("localhost", port))
        assert (own.fileno(), own.gettimeout(), own.getsockname()) == (number, 5, ("127.0.0.1", port))


@pytest.mark.parametrize("place", [("127.0.0.1", 1), ("127.0.0.2", 0), ("0.0.0.0", 0), ("example.org", 0)])
def test_every_other_place_is_refused_with_what_to_do(installed: Installed, place: tuple[str, int]) -> None:
    held, port = _held(socket.SOCK_STREAM)
    with held:
        installed(Inherited(_asked(port), held.fileno()))
        with (
            socket.socket(socket.AF_INET) as own,
            pytest.raises(PermissionError, match="put it under `needs: listen` of its component"),
        ):
            own.bind((place[0], place[1] or port))


def test_a_listener_of_tcp_is_not_one_of_udp(installed: Installed) -> None:
    held, port = _held(socket.SOCK_STREAM)
    with held:
        installed(Inherited(_asked(port), held.fileno()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, pytest.raises(PermissionError):
            own.bind(("127.0.0.1", port))


def test_a_group_is_what_libraries_bind_to_all_addresses(installed: Installed) -> None:
    held, port = _held(socket.SOCK_DGRAM)
    asked = ListenConfig("mdns", port, "a test", protocol="udp", group="224.0.0.251")
    number = held.detach()
    installed(Inherited(asked, number))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("", port))
        assert own.fileno() == number


def test_one_that_connects_is_made_as_ever_and_so_refused_as_ever(installed: Installed) -> None:
    held, port = _held(socket.SOCK_STREAM)
    with held:
        installed(Inherited(_asked(port), held.fileno()))
        with socket.socket(socket.AF_INET) as own:
            own.connect(("127.0.0.1", port))  # here nothing refuses the real one
            assert own.getpeername() == ("127.0.0.1", port)


def test_without_listeners_nothing_takes_the_place_of_anything(installed: Installed) -> None:
    before = socket.socket.bind, socket.socket.__init__
    installed()
    assert (socket.socket.bind, socket.socket.__init__) == before


def test_pairs_and_sockets_of_other_families_are_made_as_ever(installed: Installed) -> None:
    held, port = _held(socket.SOCK_STREAM)
    with held:
        installed(Inherited(_asked(port), held.fileno()))
        left, right = socket.socketpair()
        with left, right, socket.socket(socket.AF_UNIX) as local:
            left.send(b"x")
            assert right.recv(1) == b"x" and local.family is socket.AF_UNIX
            with suppress(OSError):
                local.bind("")


def test_a_process_has_the_listeners_of_its_components_and_not_those_of_their_programs() -> None:
    mine = Listener("third.doors", "third/doors", _asked(1))
    others = [
        Listener("third.other", "third/other", _asked(2)),
        Listener("third.doors", "third/doors", _asked(3), program="main", is_watched=True),
    ]
    numbers = {one.key: 7 for one in (mine, *others)}
    assert inherited_by([mine, *others], "third.doors", numbers) == [Inherited(_asked(1), 7)]
