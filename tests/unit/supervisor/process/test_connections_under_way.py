"""Blocking connections that the supervisor waits for: each is a descriptor of its own, and it needs some itself."""

from __future__ import annotations

import errno
import resource
import socket
from typing import Any

import pytest

from tlsrt.sandbox.seccomp.broker import Connecting
from tlsrt.supervisor.process import syscall_monitor
from tlsrt.supervisor.process.children import CallRules
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor


@pytest.mark.parametrize(("most", "error"), [(4, errno.EAGAIN), (1 << 20, None)])
def test_a_quarter_of_the_descriptors_is_left_to_the_supervisor(
    most: int, error: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[int] = []
    call: Any = object()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (most, most))
    monkeypatch.setattr(
        syscall_monitor, "answer_notification", lambda listener, call, *, error: answered.append(error)
    )  # fmt: skip
    event_loop = EventLoop()
    monitor = SyscallMonitor(event_loop, CallRules(frozenset(), frozenset()), lambda violation: None)
    with socket.socket() as under_way:
        monitor._wait_for(call, Connecting(under_way))
        assert answered == ([] if error is None else [error])
        assert (under_way.fileno() < 0) is (error is not None)
        monitor.close()
    event_loop.close()
