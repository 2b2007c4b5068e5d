"""The learned detector at its place in the authority: telemetry in, points and events out. Pure; times in ms.

It advises. Its points fade faster than they are added, so that alone they come to 35 at most and stay there: below the
50 that end a session, far below the 100 of the lock. If more than half of the sessions that are known are unusual at
once, it is the host that has changed (a reload, a process that came again), and nobody is charged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from tlsrt.channels.control.telemetry import ROWS_MAX, WINDOW_MS, Row, parse_rows_untrusted
from tlsrt.channels.control.trust import TelemetryMessage
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.detection.anomaly_model import AnomalyModel, Opinion
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind, Detail
from tlsrt.supervisor.authority.sessions.manager import CLIENT, Session

DETECTOR = "learned"
POINTS, POINTS_EVERY_MS = 10, 30_000  # for one subject: with a half-life of a minute, at most 34 at once
MUCH, MUCH_POINTS, MUCH_EVERY_MS = 24.0, 20, 75_000  # bits, with which one window limits; at most 34.6 at once
EVENT_EVERY_MS = 600_000
ROWS = 8 * ROWS_MAX  # a window: as many as an honest Primary tells; it may be captured, and each costs 0.1 ms
MANY = 4  # unusual sessions at once, and more than half: it is not they

Find = Callable[[bytes], Session | None]
Add = Callable[[str, Charge, int, Detail, int, int], None]
Note = Callable[[str, str, str], None]  # name, subject, words
Found = tuple[Session, Opinion]


class AnomalyDetector:
    """The model, and what follows from what it thinks."""

    def __init__(self, find: Find, add: Add, note: Note, model: AnomalyModel | None = None) -> None:
        self._find = find
        self._add = add
        self._note = note
        self._model = AnomalyModel() if model is None else model
        self._rows = Bucket(ROWS, ROWS * 1000 / WINDOW_MS)
        self._charged: OrderedDict[str, int] = OrderedDict()  # subject: when; the one charged longest ago first
        self._told: OrderedDict[str, int] = OrderedDict()

    def on_telemetry(self, primary: LoopEntry, message: TelemetryMessage, now: int, wall: int) -> None:
        self.heard(message.rows, now, wall)

    def heard(self, packed: list[Any], now: int, wall: int) -> None:
        """Take the rows of one window; raise PeerError if they are none."""
        rows = parse_rows_untrusted(packed)
        if not self._rows.take(now / 1000, len(rows)):
            return
        found = [
            (session, self._weigh(session, row, now)) for row in rows if (session := self._find(row[0])) is not None
        ]
        unusual = [one for one in found if one[1].is_unusual]
        known = sum(1 for _, opinion in found if opinion.warmth == 1)
        if len(unusual) >= MANY and 2 * len(unusual) > known:
            if _is_due(self._told, "", EVENT_EVERY_MS, now):
                self._note("unusual", "host", f"{len(unusual)} of {known} sessions at once")
            return
        for session, opinion in unusual:
            self._answer(session, opinion, now, wall)

    def _weigh(self, session: Session, row: Row, now: int) -> Opinion:
        kind = CLIENT if session.owner == CLIENT else "component"
        return self._model.observe(session.subject, kind, row[1], now)

    def _answer(self, session: Session, opinion: Opinion, now: int, wall: int) -> None:
        words = "; ".join(map(str, opinion.reasons))
        is_much = opinion.bits >= MUCH
        every_ms = MUCH_EVERY_MS if is_much else POINTS_EVERY_MS
        if _is_due(self._charged, session.subject, every_ms, now):
            charge = Charge(ChargeKind.SESSION, session.session_id.hex())
            points = MUCH_POINTS if is_much else POINTS
            self._add(DETECTOR, charge, points, {"subject": session.subject, "why": words}, now, wall)
        if _is_due(self._told, session.subject, EVENT_EVERY_MS, now):
            self._note("unusual", session.subject, words)


def _is_due(times: OrderedDict[str, int], subject: str, every_ms: int, now: int) -> bool:
    """Tell whether it is time again for a subject, and then note that. What is old is forgotten."""
    while times and next(iter(times.values())) <= now - EVENT_EVERY_MS:
        times.popitem(last=False)
    if now - times.get(subject, now - every_ms) < every_ms:
        return False
    times[subject] = now
    times.move_to_end(subject)
    return True
