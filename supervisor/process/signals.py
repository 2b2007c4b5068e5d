"""Ending processes, by descriptors that can mean no other process."""

from __future__ import annotations

import signal

from tlsrt.supervisor.process.children import Child

LINGER_S = 0.01  # between two looks whether the descendants of a dead process have ended


def send_signal(child: Child, number: signal.Signals) -> None:
    """Send a signal through the pidfd (pidfd_send_signal(2)): it can meet no other process."""
    try:
        signal.pidfd_send_signal(child.pidfd, number)
    except ProcessLookupError:
        return
