"""Libraries that bind by themselves: they get the listener of exactly that place, and no other socket is bound."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

import pytest

from tlsrt.config.listeners import Interface, ListenConfig, Listener
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
    real = socket.socket.__init__, socket.socket.bind, socket.socket.__dict__["_real_close"]
    delays: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        delays.append(not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
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
    assert delays == [False]  # asyncio sets TCP_NODELAY, as it does on sockets of its own
    assert (socket.socket.__init__, socket.socket.bind, socket.socket.__dict__["_real_close"]) == real


def test_a_datagram_socket_is_the_one_of_the_grant_under_its_own_number(installed: Installed) -> None:
    held, port = _held(socket.SOCK_DGRAM)
    number = held.detach()
    installed(Inherited(_asked(port, "udp"), number))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(5)
        own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)  # has no effect before it is bound
        own.bind(("localhost", port))
        assert (own.fileno(), own.gettimeout(), own.getsockname()) == (number, 5, ("127.0.0.1", port))
    os.close(number)


@pytest.mark.parametrize("makes_sockets", [False, True])
def test_a_datagram_socket_is_bound_again_after_it_was_closed_and_by_one_at_a_time(
    installed: Installed, makes_sockets: bool
) -> None:
    held, port = _held(socket.SOCK_DGRAM)
    number = held.detach()
    installed(Inherited(_asked(port, "udp"), number), makes_sockets=makes_sockets)
    for _ in range(2):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ):
            own.bind(("127.0.0.1", port))
            with pytest.raises(OSError, match="another socket has it") as refused:
                other.bind(("127.0.0.1", port))
            assert (own.fileno(), refused.value.errno) == (number, errno.EADDRINUSE)
        assert own.fileno() == -1
        os.fstat(number)  # the grant stays
    os.close(number)


def test_a_datagram_socket_that_was_collected_is_no_one_elses_number(installed: Installed) -> None:
    held, port = _held(socket.SOCK_DGRAM)
    with held:
        number = fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, 200)
    installed(Inherited(_asked(port, "udp"), number))
    os.close(number)  # as the collector does
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
        pytest.raises(OSError, match="another socket has it"),
    ):
        own.bind(("127.0.0.1", port))
    left, right = socket.socketpair()
    with right:
        with left:
            os.dup2(left.fileno(), number)
        socket.socket(fileno=number).close()
        assert right.recv(1) == b"", "a socket that has the number now is closed as any other"


def test_what_was_never_bound_leaves_its_number_to_the_next(installed: Installed) -> None:
    held, port = _held(socket.SOCK_STREAM)
    with held:
        before = set(os.listdir("/proc/self/fd"))
        installed(Inherited(_asked(port), held.fileno()))
        for _ in range(3):
            socket.socket(socket.AF_INET).close()
        assert set(os.listdir("/proc/self/fd")) == before
        number = socket.socket(socket.AF_INET).detach()  # and closed by none of its methods
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = held.accept()
            os.dup2(accepted.fileno(), number)
            accepted.close()
            with socket.socket(fileno=number) as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert own.getsockname() == ("127.0.0.1", port)
        assert set(os.listdir("/proc/self/fd")) == before


def test_a_socket_in_tls_that_connects_is_still_made_as_ever(installed: Installed) -> None:
    held, port = _held(socket.SOCK_STREAM)
    with held:
        installed(Inherited(_asked(port), held.fileno()))
        plain = socket.socket(socket.AF_INET)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, plain.fileno()) as own:  # as ssl.SSLSocket does
            plain.detach()
            own.connect(("127.0.0.1", port))
            assert own.getpeername() == ("127.0.0.1", port)


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


def _group(port: int, interface: str) -> ListenConfig:
    return ListenConfig(interface, port, "a test", protocol="udp", group="224.0.0.251", interface=interface)


def _member(address: str) -> bytes:
    return socket.inet_aton("224.0.0.251") + socket.inet_aton(address)


@pytest.mark.parametrize("makes_sockets", [False, True])
def test_a_library_for_multicast_gets_the_listener_of_each_interface(installed: Installed, makes_sockets: bool) -> None:
    near, port = _held(socket.SOCK_DGRAM)
    far, _ = _held(socket.SOCK_DGRAM)
    with near, far:
        listeners = [
            Inherited(_group(port, name), one.fileno(), Interface(name, index, (f"192.0.2.{index}/24",)))
            for index, (name, one) in enumerate((("near", near), ("far", far)), 1)
        ]
        installed(*listeners, makes_sockets=makes_sockets)
        everywhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        everywhere.setblocking(False)
        everywhere.bind(("", port))
        assert everywhere.fileno() == near.fileno(), "the first that is free"
        for index in (1, 2):
            everywhere.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _member(f"192.0.2.{index}"))
        each = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for index, own in enumerate(each, 1):
            own.bind((f"192.0.2.{index}", port))
        assert [own.fileno() for own in each] == [near.fileno(), far.fileno()]
        with pytest.raises(BlockingIOError):
            everywhere.recv(1)  # it is there, and hears nothing: the others do
        assert everywhere.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF) == 0
        assert everywhere.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4) == bytes(4)
        everywhere.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, _member("192.0.2.1"))
        for own in (*each, everywhere):
            own.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, pytest.raises(OSError, match=r"annot"):
            own.bind(("192.0.2.3", port))


def test_another_group_is_not_joined(installed: Installed) -> None:
    held, port = _held(socket.SOCK_DGRAM)
    with held:
        installed(Inherited(_group(port, "near"), held.fileno()))
        member = socket.inet_aton("224.0.0.252") + bytes(4)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
            pytest.raises(PermissionError, match="with `group`"),
        ):
            own.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
