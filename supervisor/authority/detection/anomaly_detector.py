"""The learned detector: telemetry in, signals and events out. Pure.

It is advisory. Its points fade faster than they are added, so that alone they come to 35 at most and stay there: below
the 50 that end a session, far below the 100 of the lock. If more than half of the known sessions are unusual at once,
it is the host that has changed (a reload, a process that came again), and there is no signal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.telemetry import ROWS_MAX, WINDOW_MS, Row, parse_rows_untrusted
from tlsrt.channels.control.trust import TelemetryMessage
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.detection.anomaly_model import AnomalyModel, Opinion
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import Detection, LoopHandler, Service, SignalSource, SourceKind
from tlsrt.supervisor.authority.sessions.manager import CLIENT, Session

DETECTOR = "learned"
POINTS, POINTS_EVERY_MS = 10, 30_000  # for one subject: with a half-life of a minute, at most 34 at once
MUCH, MUCH_POINTS, MUCH_EVERY_MS = 24.0, 20, 75_000  # bits, with which one window limits; at most 34.6 at once
EVENT_EVERY_MS = 600_000
ROWS = 8 * ROWS_MAX  # a window: as many as an honest Primary tells; it may be captured, and each costs 0.1 ms
MANY = 4  # unusual sessions at once, and more than half: it is not they

Found = tuple[Session, Opinion]


class Sessions(Protocol):
    """The sessions of the host."""

    def note_traffic(self, session_id: bytes, now: int, /) -> Session | None: ...


class Notes(Protocol):
    """Where events are noted."""

    def note(self, name: str, subject: str, words: str = "", /) -> None: ...


class AnomalyDetector(Service):
    """The model, and the signals that follow from its opinions."""

    def __init__(
        self, sessions: Sessions, notes: Notes, detection: Detection, model: AnomalyModel | None = None
    ) -> None:
        self._sessions = sessions
        self._notes = notes
        self._detection = detection
        self._model = AnomalyModel() if model is None else model
        self._rows = Bucket(ROWS, ROWS * 1000 / WINDOW_MS)
        self._charged: OrderedDict[str, int] = OrderedDict()  # subject: when; the one charged longest ago first
        self._told: OrderedDict[str, int] = OrderedDict()

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"telemetry": self._on_telemetry}

    def _on_telemetry(self, primary: LoopEntry, message: TelemetryMessage, moment: Moment) -> None:
        self.heard(message.rows, moment)

    def heard(self, packed: list[Any], moment: Moment) -> None:
        """Take the rows of one window; raise PeerError if they are none."""
        rows = parse_rows_untrusted(packed)
        if not self._rows.take(moment.now / 1000, len(rows)):
            return
        found = [
            (session, self._weigh(session, row, moment.now))
            for row in rows
            if (session := self._sessions.note_traffic(row[0], moment.now)) is not None
        ]
        unusual = [one for one in found if one[1].is_unusual]
        known = sum(1 for _, opinion in found if opinion.warmth == 1)
        if len(unusual) >= MANY and 2 * len(unusual) > known:
            if _is_due(self._told, "", EVENT_EVERY_MS, moment.now):
                self._notes.note("unusual", "host", f"{len(unusual)} of {known} sessions at once")
            return
        for session, opinion in unusual:
            self._answer(session, opinion, moment)

    def _weigh(self, session: Session, row: Row, now: int) -> Opinion:
        kind = CLIENT if session.owner == CLIENT else "component"
        return self._model.observe(session.subject, kind, row[1], now)

    def _answer(self, session: Session, opinion: Opinion, moment: Moment) -> None:
        words = "; ".join(map(str, opinion.reasons))
        is_much = opinion.bits >= MUCH
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
    if now - times.get(subject, now - every_ms) < every_ms:
        return False
    times[subject] = now
    times.move_to_end(subject)
    return True
