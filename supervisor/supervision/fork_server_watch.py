"""Watch over the fork server: tell when it ends while the host runs. The supervisor forks by itself from then on.

A new one would be forked from the supervisor as it is now, and save nothing for those that run already: that is what a
restart of the host is for.
"""

from __future__ import annotations

from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature

NAME = "fork_server"


class ForkServerWatch(Feature):
    """Waits for the end of the one fork server of this life."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_watched = False

    def authority_booted(self) -> None:
        """Begin, at the start: the fork server is there before the authority has booted."""
        child = self._context.current.children.fork_server
        if child is not None and not self._is_watched:
            self._is_watched = True
            self._context.event_loop.watch(child.pidfd, lambda events: self._ended())

    def _ended(self) -> None:
        children = self._context.current.children
        child = children.fork_server
        if child is None or (reason := children.reap(child)) is None:
            return
        self._context.event_loop.forget(child.pidfd)
        children.forget_fork_server()
        self._context.console.bad(NAME, "died", f"{reason}; processes are forked by the supervisor from now on")
        self._context.events.emit("fork_server_lost", NAME, str(reason), pid=child.host_pid)
