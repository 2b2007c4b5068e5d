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

from tlsrt.sandbox.seccomp import broker
from tlsrt.sandbox.seccomp.broker import Broker, BrokerReply, Connecting
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


def call_of(memory: bytes, tmp_path: Path) -> BrokerReply | Connecting:
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
