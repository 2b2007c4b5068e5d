"""The broker's own promises: it never waits, whatever the process does to its socket meanwhile."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.sandbox.seccomp import broker
from tlsrt.sandbox.seccomp.broker import Broker, BrokerReply, Connecting, Made
from tlsrt.sandbox.seccomp.notify import Notification

LONGEST_S = 1.0  # a connect that waits would wait for ever


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A listener whose queue is full, so that one more connect waits if it may."""
    path = tmp_path / "primary.sock"
    waiting = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        yield path
        for client in waiting:
            client.close()


def unix_address(path: str) -> bytes:
    return struct.pack("=H", socket.AF_UNIX) + path.encode() + b"\0"


def test_a_lost_race_for_the_sockets_flags_costs_a_moment(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another thread of the process had made the socket blocking again, between our two calls."""
    real = fcntl.fcntl

    def lost(descriptor: socket.socket, command: int, argument: int = 0) -> int:
        return 0 if command == fcntl.F_SETFL else real(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", lost)
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        outcome = broker._begin(client, unix_address(str(full)))
        assert client.gettimeout() is None and not client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16).strip(
            b"\0"
        )
    assert time.monotonic() - began < LONGEST_S
    assert outcome == BrokerReply(error=errno.EAGAIN)


def call_of(memory: bytes, tmp_path: Path) -> BrokerReply | Connecting | Made:
    buffer = ctypes.create_string_buffer(memory, len(memory))
    with socket.socket(socket.AF_UNIX) as client:
        arguments = (client.fileno(), ctypes.addressof(buffer), len(memory), 0, 0, 0)
        own = os.pidfd_open(os.getpid())
        try:
            mine = Broker(os.getpid(), own, (), tmp_path)
            return mine.carry_out(Notification(1, os.getpid(), "connect", arguments), lambda: True)
        finally:
            os.close(own)


@pytest.mark.parametrize("own_path", [True, False])
def test_a_loop_reaches_its_channel_and_no_other_socket_that_it_sees(tmp_path: Path, own_path: bool) -> None:
    """By its name inside the root, or by the host's where the root was waived; a socket beside it is refused."""
    channel, other = tmp_path / "primary.sock", tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as decoy:
        for one, path in ((listener, channel), (decoy, other)):
            one.bind(str(path))
            one.listen()
        name = str(channel) if own_path else "/channel/primary.sock"
        assert call_of(unix_address(name), tmp_path) == BrokerReply()
        refused = call_of(unix_address(str(other)), tmp_path)
        assert isinstance(refused, BrokerReply) and refused.error == errno.EACCES and refused.refused
        abstract = struct.pack("=H", socket.AF_UNIX) + b"\0" + b"tlsrt"
        refused = call_of(abstract, tmp_path)
        assert isinstance(refused, BrokerReply) and refused.error == errno.EACCES


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("protocol", ["none", "its own"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_of_the_network_is_made_as_it_was_asked_for(family: int, protocol: str, kind: int) -> None:
    own = socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else socket.IPPROTO_UDP
    for flags in (0, socket.SOCK_NONBLOCK, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC):
        made = asked_for(family, kind | flags, own if protocol == "its own" else 0)
        assert isinstance(made, Made)
        with made.socket as found:
            assert (found.family, found.type & 0xF, protocol_of(found)) == (family, kind, own)
            assert os.get_blocking(found.fileno()) is not bool(flags & socket.SOCK_NONBLOCK)


@given(family=st.integers(0, 64), kind=st.integers(0, 1 << 32), protocol=st.integers(0, 300))
def test_no_other_socket_is_made(family: int, kind: int, protocol: int) -> None:
    made = asked_for(family, kind, protocol)
    if isinstance(made, Made):
        with made.socket as found:
            kinds = {
                (int(socket.SOCK_STREAM), int(socket.IPPROTO_TCP)),
                (int(socket.SOCK_DGRAM), int(socket.IPPROTO_UDP)),
            }
            assert family in (socket.AF_INET, socket.AF_INET6) and (kind & 0xF, protocol_of(found)) in kinds
            assert protocol in (0, protocol_of(found))
    else:
        assert isinstance(made, BrokerReply) and made.error == errno.EPERM and made.refused


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a socket of another uid")
def test_a_socket_belongs_to_the_process_that_asked() -> None:
    """As the owner that packet filters match and /proc/net/tcp shows, so nothing of it looks like root's."""
    made = asked_for(socket.AF_INET, socket.SOCK_STREAM, 0, uid=771007)
    assert isinstance(made, Made)
    with made.socket as found:
        assert os.fstat(found.fileno()).st_uid == 771007
    with socket.socket() as ours:
        assert os.fstat(ours.fileno()).st_uid == 0


def protocol_of(found: socket.socket) -> int:
    return found.getsockopt(socket.SOL_SOCKET, 38)  # SO_PROTOCOL


def asked_for(family: int, kind: int, protocol: int, uid: int | None = None) -> BrokerReply | Connecting | Made:
    call = Notification(1, os.getpid(), "socket", (int(family), int(kind), int(protocol), 0, 0, 0))
    return Broker(os.getpid(), -1, (), None, uid).carry_out(call, lambda: True)
