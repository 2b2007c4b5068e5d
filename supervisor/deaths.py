"""Ending processes, and saying why they ended."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from tlsrt.channels.life import FailCode
from tlsrt.supervisor.parts import Child

LINGER_S = 0.01  # between two looks whether the descendants of a dead process are gone
_OF_COMPONENT = (FailCode.IMPORT, FailCode.COMPONENT_START)
_FAILURES = {
    FailCode.SANDBOX: "its sandbox could not be built",
    FailCode.IMPORT: "a component could not be imported",
    FailCode.COMPONENT_START: "a component could not start",
    FailCode.THREADS: "code started a thread before the sandbox was sealed",
    FailCode.JOIN: "it got no keys",
    FailCode.INTERNAL: "internal error",
}


def failure_reason(code: int, index: int, components: Sequence[str], log_path: str) -> str:
    """Return the words for a `failed` record; they never come from the loop itself."""
    try:
        failure = FailCode(code)
    except ValueError:
        return f"failed: unknown code {code}, see {log_path}"
    words = _FAILURES[failure]
    if failure in _OF_COMPONENT and index < len(components):
        words = words.replace("a component", components[index])
    return f"failed: {words}, see {log_path}"


def send_signal(child: Child, number: signal.Signals) -> None:
    """Send a signal through the pidfd (pidfd_send_signal(2)): it can meet no other process."""
    try:
        signal.pidfd_send_signal(child.pidfd, number)
    except ProcessLookupError:
        return
