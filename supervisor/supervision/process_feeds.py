"""Feeds of the runtime's own processes: a table every few seconds, over a pair of sockets for each grant, one way.

A component that does not read loses tables, and is told how many. What it costs is one read of /proc a process, 30 us.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from tlsrt.channels.control.life import LoopState
from tlsrt.channels.control.process_table import ProcessRow, encode_table
from tlsrt.supervisor.process.instance_lock import host_pid
from tlsrt.supervisor.process.proc import usage_of
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.service_process import ServiceProcess
from tlsrt.supervisor.supervision.states import LoopEvent


class _Feed:
    """The sending end of one grant."""

    def __init__(self, incarnation: int, every_s: float, end: socket.socket) -> None:
        self.incarnation = incarnation
        self.every_s = every_s
        self.end = end
        self._dropped = 0

    def tell(self, rows: Sequence[ProcessRow]) -> None:
        """Send a table, or count that it is lost. Raises OSError if the component has ended."""
        try:
            self.end.send(encode_table(rows, self._dropped))
            self._dropped = 0
        except BlockingIOError:
            self._dropped += 1


class ProcessFeeds(Feature):
    """The feeds of all processes that are granted one."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, services: Sequence[ServiceProcess]
    ) -> None:
        self._context = context
        self._loops = loops
        self._authority = authority
        self._services = services
        self._feeds: dict[tuple[str, int], _Feed] = {}  # by process and grant

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        if event is LoopEvent.ATTESTED:
            self._context.event_loop.call_later(0, partial(self._connect, loop))
        elif not loop.is_living:
            for key in [key for key in self._feeds if key[0] == loop.name]:
                self._feeds.pop(key).end.close()

    def _connect(self, loop: Loop) -> None:
        if not (loop.is_trusted and loop.managed_by is self._context.current.children):
            return
        for grant, (_, events) in enumerate(self._context.current.config.host_events_of(loop.name)):
            if events.kind != "processes":
                continue
            try:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            except OSError as error:  # too few descriptors
                self._context.console.warning("supervisor", f"{loop.name} hears of no processes: {error.strerror}")
                continue
            with theirs:
                ours.shutdown(socket.SHUT_RD)  # what a component says there is not read
                ours.setblocking(False)
                theirs.setblocking(False)
                self._loops.tell(loop, "host_events", grant, descriptors=(theirs.fileno(),))
            if (before := self._feeds.pop((loop.name, grant), None)) is not None:
                before.end.close()
            feed = self._feeds[loop.name, grant] = _Feed(loop.incarnation, events.every_s, ours)
            self._tell(loop.name, grant, feed)

    def _tell(self, process: str, grant: int, feed: _Feed) -> None:
        if self._feeds.get((process, grant)) is not feed:
            return
        try:
            feed.tell([*self._rows()])
        except OSError:  # it ends: its end is heard of elsewhere
            del self._feeds[process, grant]
            with suppress(OSError):
                feed.end.close()
            return
        self._context.event_loop.call_later(feed.every_s, partial(self._tell, process, grant, feed))

    def _rows(self) -> Iterator[ProcessRow]:
        authority = self._authority
        child = authority.process.child
        yield _row("supervisor", "active", host_pid(), 0)
        yield _row(AUTHORITY, authority.state, child.host_pid if child else 0, authority.restarts)
        for service in self._services:
            if service.is_wanted or service.child is not None:
                yield _row(
                    service.name, service.state, service.child.host_pid if service.child else 0, service.restarts
                )
        for loop in self._loops.all:
            yield _row(loop.name, str(loop.state), loop.host_pid, loop.restarts)


def _row(name: str, state: str, pid: int, restarts: int) -> ProcessRow:
    usage = usage_of(pid) if pid else None
    if usage is None:
        return ProcessRow(name, state, 0, restarts, 0, 0, 0)
    return ProcessRow(name, state, pid, restarts, round(usage.cpu_s * 1000), usage.resident_bytes, usage.threads)
