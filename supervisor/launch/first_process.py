"""Process 1 of a container: signals handed on, orphans reaped, the exit status of the launcher.

    container engine -> process 1: here -> launcher -> supervisor, process 1 of a namespace of its own

The launcher may go into a user namespace. So it must not be process 1: what a container engine runs beside it, such as
a check of its health, enters the namespaces of process 1 and would be no user there that it knows. pid_namespaces(7).
"""

from __future__ import annotations

import os
import signal

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCHED = (*_HANDED_ON, signal.SIGCHLD)
_SIGNAL_BASE = 128  # as shells report a death by signal


def stay_behind_if_first() -> int | None:
    """Return None in the process that is to go on; in process 1 the exit status, when that has ended.

    Call it before there are threads, and before signals are blocked.
    """
    if os.getpid() != 1:
        return None
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)  # Ctrl-C of a terminal reaches process 1 alone, which hands it on once
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        return None
    while True:
        arrived = signal.sigwaitinfo(_WATCHED).si_signo
        status = _reaped(pid)
        if status is not None:
            return status
        if arrived in _HANDED_ON:
            os.kill(pid, arrived)  # it is our child, and not reaped yet


def _reaped(own: int) -> int | None:
    """Reap every process that has ended; return the exit status of our own child if it is one of them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == own:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNAL_BASE - code
        if pid == 0:
            return None
