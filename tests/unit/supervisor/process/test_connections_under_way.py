"""Blocking connections that the supervisor waits for: each is a descriptor of its own, and it needs some itself."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.silent_server import silent_server

from tlsrt.config.egress import parse_egress
from tlsrt.sandbox.seccomp.broker import Broker, BrokerReply, Connecting, Outcome
from tlsrt.sandbox.seccomp.notify import Notification
from tlsrt.supervisor.process.children import CallRules
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor


@pytest.fixture
def silent() -> Iterator[int]:
    with silent_server() as port:
        yield port


@pytest.fixture
def pidfd() -> Iterator[int]:
    found = os.pidfd_open(os.getpid())
    yield found
    os.close(found)


def connect(broker: Broker, client: socket.socket, address: bytes) -> Outcome:
    buffer = ctypes.create_string_buffer(address, len(address))
    arguments = (client.fileno(), ctypes.addressof(buffer), len(address), 0, 0, 0)
    return broker.carry_out(Notification(1, os.getpid(), "connect", arguments), lambda: True)


def test_a_quarter_of_the_descriptors_is_left_to_the_supervisor(pidfd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (4, 4))
    event_loop = EventLoop()
    monitor = SyscallMonitor(event_loop, CallRules(frozenset(), frozenset()), lambda violation: None)
    child: Any = SimpleNamespace(pid=os.getpid(), pidfd=pidfd)
    monitor.forked(child)
    assert monitor._broker is not None and monitor._broker.most == 3
    monitor.close()
    event_loop.close()


def test_a_connection_that_has_no_place_is_not_begun(pidfd: int, silent: int, tmp_path: Path) -> None:
    """Begun and then refused, it would go on, and a second try would end with EALREADY or be connected."""
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", silent, socket.inet_aton("127.0.0.1"))
    egress = (parse_egress(f"127.0.0.1:{silent}"),)
    full, free = (Broker(os.getpid(), pidfd, egress, tmp_path, most=most) for most in (0, 1 << 20))
    with socket.socket() as client:
        assert connect(full, client, address) == BrokerReply(error=errno.EAGAIN)
        assert client.getsockname() == ("0.0.0.0", 0) and client.gettimeout() is None
        outcome = connect(free, client, address)
        assert isinstance(outcome, Connecting)
        outcome.socket.close()
    with socket.socket() as unhurried:
        unhurried.setblocking(False)
        assert connect(full, unhurried, address) == BrokerReply(error=errno.EINPROGRESS), "of that nothing is kept"
    path = tmp_path / "primary.sock"
    with socket.socket(socket.AF_UNIX) as primary, socket.socket(socket.AF_UNIX) as client:
        primary.bind(str(path))
        primary.listen()
        name = struct.pack("=H", socket.AF_UNIX) + bytes(path) + b"\0"
        assert connect(full, client, name) == BrokerReply(), "its channel can be had always"
