"""The events of a host, put together: where they come from, and who reads them."""

from __future__ import annotations

from collections.abc import Sequence

from tlsrt.supervisor.control.server import ControlSocket
from tlsrt.supervisor.events.feed import EventFeed
from tlsrt.supervisor.events.relay import EventRelay
from tlsrt.supervisor.events.sources import EventSources
from tlsrt.supervisor.process.children import Common
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.loop import Loop

SUPERVISOR = "supervisor"


class HostEvents:
    """Connects the bus; made once in the life of a supervisor, before anything is forked."""

    def __init__(self, common: Common, loops: Sequence[Loop], authority: AuthorityProcess, boot: str) -> None:
        self._bus = common.events
        self._bus.boot = boot
        self.sources = EventSources(self._bus, loops, lambda: common.event_loop.now)
        self.feed = EventFeed(common.event_loop, self._bus)
        self.relay = EventRelay(common.event_loop, self._bus, authority.tell_events)
        authority.on_joined = self.relay.joined
        authority.on_beat = lambda lateness_us: self.sources.beat(AUTHORITY, lateness_us)
        authority.on_noted = self.sources.noted
        self._bus.emit("starting", SUPERVISOR, loops=len(loops))

    def add_verbs(self, control: ControlSocket) -> None:
        control.add_stream("events", self.feed.serve)

    def beat(self, loop: Loop) -> None:
        """A loop beat."""
        if loop.beat is not None:
            self.sources.beat(loop.name, loop.beat.lateness_us)

    def refused(self, sentence: str) -> None:
        """The host does not start, or ends because it cannot go on."""
        self._bus.emit("start_refused", SUPERVISOR, sentence)

    def stopping(self) -> None:
        self._bus.emit("stopping", SUPERVISOR)

    def stopped(self, code: int) -> None:
        """The last event: whoever follows is given it before the control socket closes."""
        self._bus.emit("stopped", SUPERVISOR, exit_code=code)
        self.feed.flush()
