"""Incoming events: pages of events on their way to Primary, one of them in the channel. Pure.

The next page is sent when Primary has taken the last one and nothing that matters more waits for it. So a flood of
events fills no channel: a Primary that is merely busy would count as hung there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.seqpacket import NoFields
from tlsrt.channels.control.trust import EventsMessage
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import LoopHandler, Service, SupervisorHandler

PAGES = 8  # of at most 56 KiB; whatever comes beyond them is missing, and its numbers say so

Page = list[Any]


class IncomingEvents(Service):
    """The pages that wait."""

    def __init__(self, context: AuthorityContext) -> None:
        self._loops = context.loops
        self._outgoing = context.outgoing
        self._waiting: list[Page] = []
        self._is_in_flight = False

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"took_events": self._on_took_events}

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"events": self._on_events}

    def tick(self, moment: Moment) -> None:
        self.hand_on()

    def _on_events(self, message: EventsMessage, moment: Moment) -> None:
        """Take a page. While Primary is away none is kept: it is told the last events when it has joined."""
        if self._loops.gate and len(self._waiting) < PAGES:
            self._waiting.append(message.lines)
            self.hand_on()

    def _on_took_events(self, primary: LoopEntry, message: NoFields, moment: Moment) -> None:
        """Send the next page: Primary has taken the last one."""
        self._is_in_flight = False
        self.hand_on()

    def hand_on(self) -> None:
        """Send the next page, if there is one and its time has come."""
        if self._waiting and not self._is_in_flight and not self._outgoing.is_blocked(GATE):
            self._is_in_flight = True
            self._outgoing.send(GATE, "events", self._waiting.pop(0))

    def clear(self) -> None:
        """Drop all pages: the process of Primary has ended."""
        self._waiting.clear()
        self._is_in_flight = False
