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
