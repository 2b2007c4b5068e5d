"""Own processes: all that the supervisor has forked and that have not ended."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Sequence

from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.spawn import reap_strangers
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.programs import Programs
from tlsrt.supervisor.supervision.service_process import ServiceProcess

_KILLED_MS = 2000  # for a process to be gone after SIGKILL


class OwnProcesses:
    """Authority, loops, services, fork servers and programs."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, services: Sequence[ServiceProcess],
        programs: Programs,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._authority = authority
        self._services = services
        self._programs = programs

    @property
    def pids(self) -> list[int]:
        """Return their pids as the supervisor sees them."""
        return [child.pid for child in self._children()]

    def reap_strangers(self) -> None:
        """Reap orphans of loops, which become ours: we are the first process of the namespace."""
        reap_strangers(self.pids)

    def kill(self) -> None:
        """Leave none behind, whatever went wrong."""
        for child in self._children():
            try:
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
                if _has_ended(child.pidfd):  # a driver may hold a helper even now
                    os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
            except (ProcessLookupError, ChildProcessError):
                continue

    def _children(self) -> list[Child]:
        children = [
            *(loop.process.child for loop in self._loops.all),
            self._authority.process.child,
            *(service.child for service in self._services),
            *self._context.current.children.fork_servers.children,
            *self._programs.children,
        ]
        return [child for child in children if child is not None]


def _has_ended(pidfd: int) -> bool:
    """Wait until a killed process has ended, but not longer than a driver may need to let go of it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return poll.poll(_KILLED_MS) != []
