"""A confined child whose calls are reported, with the supervisor's own monitor on the other side."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from tlsrt.sandbox.profile.profile import Profile
from tlsrt.supervisor.process.children import CallRules
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.spawn import reap, spawn
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation


def call_rules(profile: Profile) -> CallRules:
    """The rules that a start would make of a profile."""
    policy = profile.policy
    channel = next((host for host, inside in profile.write if inside == "/channel"), None)
    uid = None if profile.rootless else profile.uid
    return CallRules(
        policy.named("kill"), policy.named("broker"), profile.egress, channel, frozenset(profile.sockets), uid
    )


class Watched:
    """Runs `body(writer, reports)` in a child to its end: what it wrote, how it ended, what it was not allowed."""

    def __init__(self, profile: Profile, body: Callable[[int, int], int]) -> None:
        self.text = b""
        self.violations: list[Violation] = []
        event_loop = EventLoop()
        syscall_monitor = SyscallMonitor(event_loop, call_rules(profile), self._violated)
        reader, writer = os.pipe()
        self.child = spawn(lambda: body(writer, syscall_monitor.child_end))
        os.close(writer)
        syscall_monitor.forked(self.child)
        self._is_over = False
        event_loop.watch(reader, lambda events: self._read(reader))
        event_loop.watch(self.child.pidfd, lambda events: self._end())
        while not self._is_over:
            event_loop.run_once()
        syscall_monitor.close()
        event_loop.close()
        while part := os.read(reader, 65536):
            self.text += part
        os.close(reader)
        self.end = str(reap(self.child))
        os.close(self.child.pidfd)

    @property
    def was_killed(self) -> bool:
        """Tell whether the monitor ended it."""
        return self.end == "SIGKILL" and bool(self.violations) and self.violations[-1].ends

    def _violated(self, violation: Violation) -> None:
        self.violations.append(violation)
        if violation.ends:
            signal.pidfd_send_signal(self.child.pidfd, signal.SIGKILL)

    def _read(self, reader: int) -> None:
        if select.select([reader], [], [], 0)[0]:
            self.text += os.read(reader, 65536)

    def _end(self) -> None:
        self._is_over = True
