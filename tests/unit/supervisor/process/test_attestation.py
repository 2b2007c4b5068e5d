"""The look from outside tells a process that is just ending from one that has lost its watch."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import Any

import pytest
from fakes.children import FakeChildren

from tlsrt.supervisor.process import syscall_monitor as sentry_module
from tlsrt.supervisor.process.attestation import differences_of
from tlsrt.supervisor.process.children import CallRules
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.spawn import SpawnedChild
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor

NEVER_CAME = "the listener of its first filter has not come"


@pytest.fixture
def child() -> Iterator[SpawnedChild]:
    """A process that lives: this one."""
    pidfd = os.pidfd_open(os.getpid())
    yield SpawnedChild(os.getpid(), pidfd, os.getpid())
    os.close(pidfd)


@pytest.fixture
def syscall_monitor(child: SpawnedChild) -> Iterator[SyscallMonitor]:
    event_loop = EventLoop()
    made = SyscallMonitor(event_loop, CallRules(frozenset(), frozenset(), (), None), lambda violation: None)
    made.forked(child)
    yield made
    made.close()
    event_loop.close()


def differences(child: SpawnedChild, syscall_monitor: SyscallMonitor) -> list[str] | None:
    return differences_of("third", child, FakeChildren(), syscall_monitor)


def test_a_process_whose_listener_never_came_differs(child: SpawnedChild, syscall_monitor: SyscallMonitor) -> None:
    assert differences(child, syscall_monitor) == [NEVER_CAME]


def test_a_process_whose_tasks_have_all_left_the_filter_is_ending_and_is_looked_at_once_more(
    child: SpawnedChild, syscall_monitor: SyscallMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()

    def come(*_: Any) -> int:
        return reader

    monkeypatch.setattr(sentry_module, "take_listener", come)
    assert differences(child, syscall_monitor) == []
    os.close(writer)
    syscall_monitor._hear(select.EPOLLHUP)
    assert differences(child, syscall_monitor) is None
    assert differences(child, syscall_monitor) == [NEVER_CAME]
