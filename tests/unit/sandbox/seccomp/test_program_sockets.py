"""Sockets of a program: what cannot be given is an error of its call, and costs the supervisor nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from tlsrt.sandbox.seccomp.broker import Broker, BrokerReply
from tlsrt.sandbox.seccomp.notify import Notification
from tlsrt.sandbox.seccomp.program_sockets import ProgramSockets, place_of


@pytest.fixture
def mine() -> Iterator[Broker]:
    """A broker whose process is this one."""
    pidfd = os.pidfd_open(os.getpid())
    yield Broker(os.getpid(), pidfd, (), None)
    os.close(pidfd)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_bind_to_a_listener_that_could_not_be_had_again_leaves_nothing_open(mine: Broker) -> None:
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", 1883, socket.inet_aton("127.0.0.1"))
    buffer = ctypes.create_string_buffer(address, len(address))
    with open(os.devnull, "rb") as nothing, socket.socket() as own:
        granted = ProgramSockets(None, {place_of("tcp", "127.0.0.1", 1883): nothing.fileno()})
        call = Notification(1, os.getpid(), "bind", (own.fileno(), ctypes.addressof(buffer), len(address), 0, 0, 0))
        before = open_descriptors()
        assert granted.carry_out(call, mine, lambda: True) == BrokerReply(error=errno.ENOTSOCK)
        assert open_descriptors() == before


def test_a_socket_that_cannot_be_duplicated_is_an_error_of_the_call(mine: Broker) -> None:
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.close()  # as with no descriptor left, dup(2) fails
    call = Notification(1, os.getpid(), "socket", (socket.AF_UNIX, socket.SOCK_DGRAM, 0, 0, 0, 0))
    assert ProgramSockets(notices).carry_out(call, mine, lambda: True) == BrokerReply(error=errno.EBADF)


def sendmsg(own: socket.socket, *pieces: bytes, control: bytes = b"") -> tuple[Notification, list[object]]:
    """Return a sendmsg(2) without an address, and what must live as long."""
    kept = [ctypes.create_string_buffer(one, max(len(one), 1)) for one in (*pieces, control)]
    both = zip(kept[:-1], pieces, strict=True)
    vectors = b"".join(struct.pack("=QQ", ctypes.addressof(one), len(piece)) for one, piece in both)
    listed = ctypes.create_string_buffer(vectors, len(vectors))
    head = struct.pack(
        "=QI4xQQQQi4x", 0, 0, ctypes.addressof(listed), len(pieces), ctypes.addressof(kept[-1]), len(control), 0
    )
    message = ctypes.create_string_buffer(head, len(head))
    call = Notification(1, os.getpid(), "sendmsg", (own.fileno(), ctypes.addressof(message), 0, 0, 0, 0))
    return call, [*kept, listed, message]


@pytest.fixture
def stream() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection; that of the program does not block."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as own:
        other, _ = server.accept()
        own.setblocking(False)
        with other:
            yield own, other


def test_a_message_without_an_address_is_sent_on_a_stream(
    mine: Broker, stream: tuple[socket.socket, socket.socket]
) -> None:
    own, other = stream
    credentials = struct.pack("=QiiIII4x", 28, socket.SOL_SOCKET, socket.SCM_CREDENTIALS, os.getpid(), 0, 0)
    call, kept = sendmsg(own, b"hello ", b"", b"world", control=credentials)
    assert ProgramSockets().carry_out(call, mine, lambda: True) == BrokerReply(11)
    assert other.recv(100) == b"hello world"
    call, more = sendmsg(own, b"x" * 10_000, b"y" * 10_000, b"never read")
    assert ProgramSockets().carry_out(call, mine, lambda: True) == BrokerReply(16 << 10), "the next one sends the rest"
    assert ProgramSockets().carry_out(call, mine, lambda: False) == BrokerReply(error=errno.EINTR)
    assert kept and more


def test_a_message_is_sent_on_nothing_else(mine: Broker, stream: tuple[socket.socket, socket.socket]) -> None:
    own, _ = stream
    pair = socket.socketpair()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    alone = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with pair[0], pair[1], datagrams, alone:
        pair[0].setblocking(False)
        datagrams.connect(("127.0.0.1", 9))
        for one, error in [(pair[0], errno.ENOSYS), (datagrams, errno.ENOSYS), (alone, errno.EPIPE)]:
            call, kept = sendmsg(one, b"hello")
            assert ProgramSockets().carry_out(call, mine, lambda: True) == BrokerReply(error=error), kept
    own.setblocking(True)
    call, kept = sendmsg(own, b"hello")
    assert ProgramSockets().carry_out(call, mine, lambda: True) == BrokerReply(error=errno.ENOSYS), kept
