"""The learned detector: telemetry in, questions to the learner, and signals and events of its advice. Pure.

The model is in a process of its own without keys, `supervisor/learner`. It is told numbers of subjects by ids
without a name, and what it says is advice. Its points fade faster than they are added, so that alone they come to 35 at
most and stay there: below the 50 that end a session, far below the 100 of the lock. A learner that lies can charge no
more than SUBJECTS_MAX subjects at a time. If more than half of the known sessions are unusual at once, it is the host
that has changed (a reload, a process that came again), and there is no signal. One that says nothing costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2s
from typing import Any, Protocol

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.learner import Advice, AdviceMessage, parse_advice_untrusted
from tlsrt.channels.control.telemetry import ROWS_MAX, SESSION_BYTES, WINDOW_MS, pack_rows, parse_rows_untrusted
from tlsrt.channels.control.trust import TelemetryMessage
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.model.context import Randomness
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import (
    Detection,
    LoopHandler,
    Outgoing,
    Service,
    SignalSource,
    SourceKind,
    SupervisorHandler,
)
from tlsrt.supervisor.authority.sessions.manager import CLIENT, Session

DETECTOR = "learned"
POINTS, POINTS_EVERY_MS = 10, 30_000  # for one subject: with a half-life of a minute, at most 34 at once
MUCH, MUCH_POINTS, MUCH_EVERY_MS = 24_000, 20, 75_000  # millibits, with which one window limits; at most 34.6 at once
EVENT_EVERY_MS = 600_000
ROWS = 8 * ROWS_MAX  # a window: as many as an honest Primary tells; it may be captured, and each costs 0.1 ms
MANY = 4  # unusual sessions at once, and more than half: it is not they
SUBJECTS_MAX = 8  # charged or told of within EVENT_EVERY_MS: the learner may be captured
ASKED_MAX = 16  # questions without an answer; the oldest is given up for another


class Sessions(Protocol):
    """The sessions of the host."""

    def note_traffic(self, session_id: bytes, now: int, /) -> Session | None: ...


class Notes(Protocol):
    """Where events are noted."""

    def note(self, name: str, subject: str, words: str = "", /) -> None: ...


class AnomalyDetector(Service):
    """The questions to the learner, and the signals that follow from its advice."""

    def __init__(
        self, sessions: Sessions, notes: Notes, detection: Detection, outgoing: Outgoing, randomness: Randomness
    ) -> None:
        self._sessions = sessions
        self._notes = notes
        self._detection = detection
        self._outgoing = outgoing
        self._key = randomness(32)  # of the ids of subjects
        self._number = int.from_bytes(randomness(4), "big")  # a late answer to an authority before this is none to it
        self._asked: OrderedDict[int, list[Session]] = OrderedDict()
        self._rows = Bucket(ROWS, ROWS * 1000 / WINDOW_MS)
        self._charged: OrderedDict[str, int] = OrderedDict()  # subject: when; the one charged longest ago first
        self._told: OrderedDict[str, int] = OrderedDict()

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"telemetry": self._on_telemetry}

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"advice": self.advised}

    def _on_telemetry(self, primary: LoopEntry, message: TelemetryMessage, moment: Moment) -> None:
        self.heard(message.rows, moment)

    def heard(self, packed: list[Any], moment: Moment) -> None:
        """Take the rows of one window; raise PeerError if they are none."""
        rows = parse_rows_untrusted(packed)
        if not self._rows.take(moment.now / 1000, len(rows)):
            return
        found = [
            (session, window)
            for session_id, window in rows
            if (session := self._sessions.note_traffic(session_id, moment.now)) is not None
        ]
        if not found:
            return
        found.sort(key=lambda each: each[0].owner != CLIENT)
        clients = sum(1 for session, _ in found if session.owner == CLIENT)
        self._number += 1
        self._asked[self._number] = [session for session, _ in found]
        if len(self._asked) > ASKED_MAX:
            self._asked.popitem(last=False)
        named = pack_rows([(self._id_of(session), window) for session, window in found])
        self._outgoing.tell("weigh", self._number, moment.now, clients, named)

    def _id_of(self, session: Session) -> bytes:
        return blake2s(session.subject.encode(), digest_size=SESSION_BYTES, key=self._key).digest()

    def advised(self, message: AdviceMessage, moment: Moment) -> None:
        """Take the answer to a question; one that was given up is none. Raises PeerError for what is no advice."""
        sessions = self._asked.pop(message.number, None)
        if sessions is None:
            return
        unusual = parse_advice_untrusted(message, len(sessions))
        if len(unusual) >= MANY and 2 * len(unusual) > message.known:
            if _is_due(self._told, "", EVENT_EVERY_MS, moment.now):
                self._notes.note("unusual", "host", f"{len(unusual)} of {message.known} sessions at once")
            return
        for advice in unusual:
            self._answer(sessions[advice.row], advice, moment)

    def _answer(self, session: Session, advice: Advice, moment: Moment) -> None:
        words = "; ".join(map(str, advice.reasons))
        is_much = advice.millibits >= MUCH
        every_ms = MUCH_EVERY_MS if is_much else POINTS_EVERY_MS
        if _is_due(self._charged, session.subject, every_ms, moment.now):
            source = SignalSource(SourceKind.SESSION, session.session_id.hex())
            points = MUCH_POINTS if is_much else POINTS
            self._detection.add(DETECTOR, source, points, {"subject": session.subject, "why": words}, moment)
        if _is_due(self._told, session.subject, EVENT_EVERY_MS, moment.now):
            self._notes.note("unusual", session.subject, words)


def _is_due(times: OrderedDict[str, int], subject: str, every_ms: int, now: int) -> bool:
    """Tell whether it is time again for a subject, and then note that. What is old is forgotten."""
    while times and next(iter(times.values())) <= now - EVENT_EVERY_MS:
        times.popitem(last=False)
    if now - times.get(subject, now - every_ms) < every_ms or (subject not in times and len(times) >= SUBJECTS_MAX):
        return False
    times[subject] = now
    times.move_to_end(subject)
    return True
