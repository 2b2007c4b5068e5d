"""The sessions that an endpoint has heard of, each with its highest number: what refuses a repeated frame. Pure.

A session is kept until no frame of it that was accepted can be repeated: for as long as its last token lives, and then
for as long as a deadline can lie ahead, since a token that follows would let an earlier frame pass as well.
One whose end was told is forgotten at once; a verifier keeps its id (`ended_sessions.py`) and refuses it.

No row makes room for another, as it would take with it what refuses a repetition. So a subject has a share, and beyond
it, or when the table is full, a session that is not known yet is refused as over its budget.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.budget import Budget
from tlsrt.channels.frames.frame import DEADLINE_MAX_MS, FrameKind, Header
from tlsrt.channels.session.token import Claims
from tlsrt.config.door_places import SESSIONS
from tlsrt.errors import PeerError

REMOTE_SESSIONS_MAX = SESSIONS
REMOTE_SESSIONS_OF = REMOTE_SESSIONS_MAX // 4  # of one subject; no configuration lets a client have more at once
SLACK_MS = 5_000  # an external client's clock offset is known only to a round trip
KEPT_MS = DEADLINE_MAX_MS + SLACK_MS


class HeardSession:
    """What is kept of one session. A flow of the fast path holds it, and needs no look-up."""

    __slots__ = ("last", "until")

    def __init__(self, last: int, until: int) -> None:
        self.last = last  # its highest number
        self.until = until  # when its last token expires, ms; 0 once it is forgotten


class HeardSessions:
    """The sessions that one endpoint has heard of; times are BOOTTIME in ms."""

    def __init__(self, most: int = REMOTE_SESSIONS_MAX, share: int = REMOTE_SESSIONS_OF) -> None:
        self._table: BoundedTable[bytes, HeardSession] = BoundedTable(most, share, WhenFull.REFUSE)

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[tuple[bytes, HeardSession]]:
        return ((row.key, row.value) for row in self._table)

    def get(self, session: bytes) -> HeardSession | None:
        """Return what is kept of a session."""
        row = self._table.get(session)
        return row.value if row is not None else None

    def take_untrusted(self, header: Header, claims: Claims | None, floor: int, now: int) -> None:
        """Accept the numbers of an authentic frame once; `floor` is that of the sessions that have ended."""
        if claims and claims.issued <= floor and self.get(header.session) is None:
            raise PeerError(Budget.REMEMBERED)  # it may have ended; if not, its next token shows it
        first = header.seq - header.part + 1 if header.kind == FrameKind.REQUESTS else header.seq
        until = claims.expires if claims else now + KEPT_MS
        self.advance_untrusted(header.session, header.src, (first, header.seq), until, now)

    def advance_untrusted(self, session: bytes, subject: str, numbers: tuple[int, int], until: int, now: int) -> None:
        """Accept numbers, the first and the last, once. Raise PeerError for a repetition, or without room."""
        row = self._table.get(session)
        if row is None:
            heard = HeardSession(numbers[1], until)
            if not self._table.add(session, heard, subject, now, expires=until + KEPT_MS).is_added:
                raise PeerError(Budget.REMEMBERED)
            return
        heard = row.value
        if numbers[0] <= heard.last:
            raise PeerError("replay")
        heard.last = numbers[1]
        if until > heard.until:
            heard.until = until
            self._table.touch(session, until + KEPT_MS)

    def forget(self, sessions: Collection[bytes]) -> None:
        """Forget sessions whose end was told, and end the flows that hold them."""
        for session in sessions:
            row = self._table.remove(session)
            if row is not None:
                row.value.until = 0

    def expire(self, now: int) -> None:
        """Forget sessions of which no frame can be repeated any more."""
        self._table.expire(now)

    def of_subjects(self, prefix: str) -> list[bytes]:
        """Return the sessions of all subjects that begin so."""
        return [row.key for row in self._table if row.subject.startswith(prefix)]
