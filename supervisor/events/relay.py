"""Events on their way to components: in pages to the authority, which hands them to Primary.

The ring is the queue, and the pace is bounded: whatever happens, the authority is sent one page of at most PAGE_BYTES
every EVERY_S, and nothing while it is away. When Primary has joined (it is new, or the authority is) it is told the
last events again; it passes over what it knows. What was overwritten meanwhile shows as a gap in the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tlsrt.config.supervision import PRIMARY
from tlsrt.supervisor.events.bus import EventBus, EventCursor
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.process.event_loop import EventLoop

EVERY_S = 0.05
PAGE_BYTES = 40 * 1024  # a page and its largest event are below the cap of a packet
PAGE_EVENTS = 128
TOLD_AGAIN = 256  # as many as Primary keeps
BORN = "spawned"

Send = Callable[[Sequence[bytes]], bool]


class EventRelay:
    """`send` takes a page, or says no without waiting."""

    def __init__(self, event_loop: EventLoop, bus: EventBus, send: Send) -> None:
        self._event_loop = event_loop
        self._bus = bus
        self._send = send
        self._cursor = EventCursor(bus, 0)
        self._is_open = False  # Primary has its keys, and the authority is there
        self._is_due = False
        bus.listeners.append(self._note)

    def joined(self, loop: str) -> None:
        """A loop has got its keys."""
        if loop == PRIMARY:
            self._is_open = True
            self._cursor.seq = max(0, self._bus.last - TOLD_AGAIN)
            self._tell_later()

    def lost(self) -> None:
        """Stop: the authority has died, or Primary."""
        self._is_open = False

    def _note(self, event: HostEvent) -> None:
        if event.subject == PRIMARY and event.name.name == BORN:
            self.lost()  # what a new one heard before its history would make it pass that over
        if self._is_open:
            self._tell_later()

    def _tell_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._event_loop.call_later(EVERY_S, self._tell)

    def _tell(self) -> None:
        self._is_due = False
        if not self._is_open:
            return
        self._cursor.lost()
        before = self._cursor.seq
        if not self._send(self._page()):
            self._cursor.seq = before
        if not self._cursor.is_at_end:
            self._tell_later()

    def _page(self) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        for event in self._cursor.take(PAGE_EVENTS):
            lines.append(event.line)
            size += len(event.line)
            if size >= PAGE_BYTES:
                break
        return lines
