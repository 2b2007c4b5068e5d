"""Watch over the fork servers: tell when one ends while the host runs, and have the next spare forked at once.

When the last one has ended the supervisor forks by itself, and begins another: at once, and where that one ends as
well, after a pause, so that what keeps killing them costs no more than a fork now and then.
"""

from __future__ import annotations

from functools import partial

from tlsrt.errors import MisuseError
from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature

NAME = "fork_server"
_RETRY_S = 1.0  # without a spare
_PAUSE_S = 5.0  # between two that begin when all are lost


class ForkServerWatch(Feature):
    """Waits for the end of each fork server of this life."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._watched: list[Child] = []
        self._is_over = False
        self._is_lost = False  # all of them, which was told
        self._is_beginning = False  # another one, which has forked no spare yet
        self._pause_s = 0.0
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
        elif self._is_beginning and servers.spare is not None:
            self._tell_of_another()
        self._watch_all()

    def _watch_all(self) -> None:
        servers = self._context.current.children.fork_servers
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
        servers = children.fork_servers
        was_spare = child is servers.spare or self._is_lost
        why = servers.forget(child) or str(reason)
        self._renew()
        self._tell(child, why, was_spare=was_spare)
        if servers.active is None and not servers.children:
            self._context.event_loop.call_later(self._pause_s, self._begin_again)

    def _tell(self, child: Child, why: str, *, was_spare: bool) -> None:
        console, events = self._context.console, self._context.events
        active = self._context.current.children.fork_servers.active
        if was_spare:
            console.warning(NAME, f"the spare, pid {child.host_pid}, ended: {why}")
            events.emit("spare_server_ended", NAME, why, pid=child.host_pid)
        elif active is not None:
            console.warning(NAME, f"pid {child.host_pid} ended: {why}; pid {active.host_pid} forks now")
            events.emit("fork_server_replaced", NAME, why, pid=child.host_pid, by=active.host_pid)
        else:
            self._is_lost = True
            console.bad(NAME, "died", f"{why}; the supervisor forks by itself until another one has begun")
            events.emit("fork_server_lost", NAME, why, pid=child.host_pid)

    def _begin_again(self) -> None:
        """Fork another first one: all are lost."""
        servers = self._context.current.children.fork_servers
        if self._is_over or servers.children:
            return
        self._pause_s = _PAUSE_S
        try:
            servers.start(is_again=True)
        except (OSError, MisuseError):  # no descriptor or no process is left
            self._context.event_loop.call_later(_PAUSE_S, self._begin_again)
            return
        self._is_lost, self._is_beginning = False, True
        self._renew()  # later: it is not ready yet

    def _tell_of_another(self) -> None:
        self._is_beginning = False
        active = self._context.current.children.fork_servers.active
        assert active is not None  # which has forked the spare
        self._context.console.plain(NAME, "began", f"pid {active.host_pid} forks from now on")
        self._context.events.emit("fork_server_began", NAME, pid=active.host_pid)
