"""Attestation of a living process from outside: it matches its profile, and its calls are watched."""

from __future__ import annotations

import select

from tlsrt.sandbox.verify.differences import ended_sentence
from tlsrt.supervisor.process.children import Child, Children
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor

DYING_MS = 20  # nothing else is done meanwhile; a process that differs is killed anyway
GONE_MS = 200  # the same where nothing of it is left to look at: the kernel still collects its last threads


def differences_of(
    name: str, child: Child, children: Children, syscall_monitor: SyscallMonitor | None
) -> list[str] | None:
    """Return a sentence for each difference; None for a process that has ended, whose pidfd tells the reason.

    `children` are those that it was spawned by, or that have adopted it.
    """
    found = children.attest(name, child.host_pid)
    if syscall_monitor is not None and not syscall_monitor.is_watching:
        if (
            syscall_monitor.take_desertion()
        ):  # a task drops its filters before its end shows; one that lives is here again
            return None
        found = [*found, "the listener of its first filter has not come"]
    is_gone = found == [ended_sentence(child.host_pid)]  # which also one says whose first thread alone has ended
    return None if _has_ended(child, GONE_MS if is_gone else DYING_MS if found else 0) else found


def _has_ended(child: Child, patience_ms: int) -> bool:
    """Tell whether it is dead, reaped or not: a pidfd is readable from then on. pidfd_open(2).

    One that was killed has lost its namespaces and descriptors a moment before that, and so differs without being to
    blame.
    """
    poll = select.poll()
    poll.register(child.pidfd, select.POLLIN)
    return bool(poll.poll(patience_ms))
