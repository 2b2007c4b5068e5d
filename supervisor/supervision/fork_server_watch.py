"""Watch over the fork servers: tell when one ends while the host runs, and have the next spare forked at once.

When the last one has ended the supervisor forks by itself: a new one would be forked from the supervisor as it is now,
with what it has heard. That is what a restart of the host is for.
"""

from __future__ import annotations

from functools import partial

from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature

NAME = "fork_server"
_RETRY_S = 1.0  # without a spare


class ForkServerWatch(Feature):
    """Waits for the end of each fork server of this life."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._watched: list[Child] = []
        self._is_over = False
        self._retry: Timer | None = None

    def authority_booted(self) -> None:
        """Begin, at the start: the first fork server is there before the authority has booted."""
        if not self._watched:
            self._renew()

    def stopping(self) -> None:
        """Renew none of them any more."""
        self._is_over = True

    def _renew(self) -> None:
        if self._is_over:
            return
        servers = self._context.current.children.fork_servers
        try:
            is_wanted = servers.renew()
        except OSError:  # no descriptor or no process is left
            is_wanted = True
        if is_wanted:
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._context.event_loop.call_later(_RETRY_S, self._renew)
        for child in servers.children:
            if child not in self._watched:
                self._watched.append(child)
                self._context.event_loop.watch(child.pidfd, partial(self._ended, child))

    def _ended(self, child: Child, events: int) -> None:
        children = self._context.current.children
        if (reason := children.reap(child)) is None:
            return
        self._watched.remove(child)
        self._context.event_loop.forget(child.pidfd)
        why = children.fork_servers.forget(child) or str(reason)
        self._renew()
        active = children.fork_servers.active
        if active is not None:
            self._context.console.warning(NAME, f"pid {child.host_pid} ended: {why}; pid {active.host_pid} forks now")
            self._context.events.emit("fork_server_replaced", NAME, why, pid=child.host_pid, by=active.host_pid)
        else:
            self._context.console.bad(NAME, "died", f"{why}; processes are forked by the supervisor from now on")
            self._context.events.emit("fork_server_lost", NAME, why, pid=child.host_pid)
