"""Events on their way from the authority to Primary: a few pages, and one of them in the channel. Pure.

The next page leaves when Primary has taken the last one and nothing that matters more waits for it. So a flood of
events fills no channel: a Primary that is merely busy would count as hung there.
"""

from __future__ import annotations

from tlsrt.supervisor.authority.model.loop_table import GATE, LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing

PAGES = 8  # of at most 56 KiB; whatever comes beyond them is missing, and its numbers say so

Page = list[object]


class IncomingEvents:
    """The pages that wait."""

    def __init__(self, roster: LoopTable, outlet: Outgoing) -> None:
        self._roster = roster
        self._outlet = outlet
        self._waiting: list[Page] = []
        self._is_under_way = False

    def add(self, page: Page) -> None:
        """Take a page. While Primary is away none is kept: it is told the last events when it has joined."""
        if self._roster.gate and len(self._waiting) < PAGES:
            self._waiting.append(page)
            self.hand_on()

    def taken(self) -> None:
        """Primary has taken the last one."""
        self._is_under_way = False
        self.hand_on()

    def hand_on(self) -> None:
        """Send the next page, if there is one and its time has come."""
        if self._waiting and not self._is_under_way and not self._outlet.is_blocked(GATE):
            self._is_under_way = True
            self._outlet.send(GATE, "events", self._waiting.pop(0))

    def clear(self) -> None:
        """Primary is gone."""
        self._waiting.clear()
        self._is_under_way = False
