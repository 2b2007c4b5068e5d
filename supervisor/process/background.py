"""Step back behind the rest of the host: processes that compute for a component, before they are confined.

Each process begins a session, and where the kernel shares processors between sessions (sched_autogroup_enabled,
sched(7)) a nice value counts within one only: the session has a value of its own. In control groups it is the weight of
the group that counts (`CPU_WEIGHT`). What steps back has all processors where no other process wants them.
"""

from __future__ import annotations

import os
from contextlib import suppress

NICE = 5  # a third of the share of an ordinary process: where others want all processors, it goes on
_SESSION = "/proc/self/autogroup"


def open_session_share() -> int | None:
    """Return what the share of this process's session is written to, whichever it has then; None where there is none.

    Opened while there is a /proc.
    """
    try:
        return os.open(_SESSION, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None


def step_back(session_share: int | None) -> None:
    """Take a smaller share of busy processors, and wait for their turn; for good, as no limit lets it be undone."""
    os.nice(NICE)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if session_share is not None:
        with suppress(OSError):  # without root at most ten such writes a second, of all processes
            os.write(session_share, b"%d" % NICE)
        os.close(session_share)
