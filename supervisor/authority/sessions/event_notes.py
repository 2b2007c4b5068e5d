"""Event notes: events on their way to the supervisor, bounded in number and rate.

Notes are sent after what they are about, in pages, and never at its cost: a flood (a loop with hundreds of sessions
dies, a client opens and closes connections without end) fills a bounded list, and what does not fit is counted and
told as `notes_lost`. A page that the supervisor's channel does not take now is tried again later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.recorder import Recorder
from tlsrt.supervisor.authority.sessions.manager import CLIENT, Session
from tlsrt.supervisor.authority.sessions.states import SessionEvent

WAITING_MAX = 512
PAGE = 32  # notes of at most 1.2 KB each, so that a page is below the cap of a packet whatever they say
EVERY_MS = 50
WORDS_MAX = 160
SHORT_ID = 4  # bytes of a session id that name it to people; the whole is no secret either, but longer than a line

Note = list[object]
EVENT_OF_SESSION = {
    SessionEvent.OPEN: "session_opened",
    SessionEvent.CLOSE: "session_closed",
    SessionEvent.EXPIRE: "session_expired",
    SessionEvent.REVOKE: "session_revoked",
    SessionEvent.QUARANTINE: "session_quarantined",
}


class EventNotes:
    """The notes that wait."""

    def __init__(self) -> None:
        self._waiting: deque[Note] = deque()
        self._lost = 0
        self._next = 0

    def note(self, name: str, subject: str, words: str = "", /, **fields: str | int) -> None:
        """Note an event; `name` is one of events/catalog.py."""
        if len(self._waiting) >= WAITING_MAX:
            self._lost += 1
            return
        self._waiting.append([name, subject, words[:WORDS_MAX], fields])

    def tell(self, channel: ControlChannel, now: int) -> str:
        """Tell the supervisor what is due; return why it cannot be told anything any more, if so.

        One that does not read at once is told later, and never waited for.
        """
        page = self.page(now)
        if not page:
            return ""
        try:
            channel.send("noted", page)
            self.told(len(page), now)
        except PeerError as error:
            self.held_up(now)
            return "" if error.reason == "hung" else error.reason
        return ""

    def page(self, now: int) -> list[Note]:
        """Return the notes to send now, at most one page in EVERY_MS."""
        if not self._waiting or now < self._next:
            return []
        return [self._waiting[index] for index in range(min(PAGE, len(self._waiting)))]

    def told(self, count: int, now: int) -> None:
        """Forget the first notes: they have left."""
        for _ in range(count):
            self._waiting.popleft()
        if self._lost:
            self._waiting.append(["notes_lost", "authority", f"{self._lost} events", {"lost": self._lost}])
            self._lost = 0
        self._next = now + EVERY_MS

    def held_up(self, now: int) -> None:
        """Try again later: the channel is full."""
        self._next = now + EVERY_MS

    def next_due(self) -> int | None:
        """Return when `page` has something, or None."""
        return self._next if self._waiting else None


class SessionLog:
    """Notes and records each step of a session before it has effects; a renewal is none."""

    def __init__(self, notes: EventNotes, recorder: Recorder, moment: Callable[[], Moment]) -> None:
        self._notes = notes
        self._recorder = recorder
        self._moment = moment

    def stepped(self, session: Session, event: SessionEvent) -> None:
        """Note one step. That a client has opened a session was recorded before."""
        name = EVENT_OF_SESSION.get(event)
        if name is None:
            return
        self._notes.note(name, session.subject, session=short_id(session.session_id), owner=session.owner)
        if event is not SessionEvent.OPEN or session.owner != CLIENT:
            detail = {"session": session.session_id.hex(), "owner": session.owner}
            self._recorder.note(name, session.subject, detail, self._moment())


def short_id(session_id: bytes) -> str:
    """Return how events name a session."""
    return session_id[:SHORT_ID].hex()
