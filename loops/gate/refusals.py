"""Refusals of gate, door and recipients, counted and reported to the authority.

Counts are bounded; reports leave at once, then every 50 ms as long as there is more. asyncio for the timer only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.budget import Budget, budget_of
from tlsrt.channels.frames.frame import parse_frame_untrusted, parse_header_untrusted
from tlsrt.errors import PeerError
from tlsrt.loops.gate.state import GateVerdict, Origin

REPORT_S = 0.05  # between two reports
ROWS = 64  # of one report of gate and door; what does not fit is counted with the last that did
TEXT_MAX = 128
RECIPIENT_ROWS = 32  # of one report of a recipient; what does not fit is not reported, as one row would do
CLOSED_REASONS = 8  # of connections, between two beats; others are only in the log
WORD_MAX = 64

SESSION, CHANNEL, ADDRESS = "session", "channel", "address"
# What happens without anyone's fault is not reported.
_INNOCENT = frozenset({
    "busy", "unavailable", "no_open_call", "not_attested", "unsynchronised", "deadline", "stale_gate", "stale_mailbox",
    "blocked", "session_ended",
})  # fmt: skip
# What depends on nothing but the bytes of a frame and keys that both sides hold for certain: it cannot happen by
# accident. What a revocation, an epoch, a respawn, a full queue or time may cause is not reported by recipients: a
# token that has ended, a mailbox or epoch of before, an answer to a session of before.
REPORTED = frozenset({
    "body_forged", "token_forged", "token_signature", "wrong_epoch", "wrong_session", "wrong_source", "not_allowed",
    "replay", "bad_body",
})  # fmt: skip

Row = list[str | int]  # kind, value, word, how often, about
RecipientRow = list[bytes | str | int]  # session, word, how often


class Reports(Protocol):
    """The trust channel. `send` may raise PeerError; then nothing was sent."""

    def send(self, name: str, *fields: object) -> None: ...


class Throttle:
    """Calls `report` at once, then at most every so often as long as there is more."""

    def __init__(self, every_s: float, report: Callable[[], None]) -> None:
        self._every_s = every_s
        self._report = report
        self._not_before = 0.0  # the loop's time
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """There is something to report."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._not_before), self._due)

    def _due(self) -> None:
        self._timer = None
        self._not_before = asyncio.get_running_loop().time() + self._every_s
        try:
            self._report()
        except PeerError as error:
            if error.reason == "hung":  # it is busy or restarting; that it has ended is found out elsewhere
                self.soon()


def _counts(most: int) -> BoundedTable[Any, int]:
    """Return counts of so many things; what one session, loop or address does takes a quarter of them."""
    return BoundedTable(most, max(1, most // 4), WhenFull.REFUSE)


def _count(counts: BoundedTable[Any, int], key: tuple[str | bytes, ...], subject: str) -> bool:
    """Count one thing more; False if there is no room for it."""
    row = counts.get(key)
    if row is None:
        return counts.add(key, 1, subject).is_added
    row.value += 1
    return True


class RefusalCounts:
    """Offences at gate and door between two reports. Pure."""

    def __init__(self) -> None:
        self._counts = _counts(ROWS)
        self.lost = 0  # that found no room in a report

    def __bool__(self) -> bool:
        return bool(len(self._counts))

    def frame(self, origin: Origin, verdict: GateVerdict) -> bool:
        """Note a frame that the gate refused; tell whether that is to be reported.

        It is charged to what it came over: the session that a connection carries, else the loop's channel. Only a
        frame that is authentic is charged to the session that it names.
        """
        if verdict.reason in _INNOCENT:
            return False
        session = origin.session or verdict.session
        kind, value = (SESSION, session.hex()) if session else (CHANNEL, origin.loop)
        self.note(kind, value, verdict.reason, verdict.about)
        return True

    def note(self, kind: str, value: str, word: str, about: str = "") -> None:
        """Note one offence."""
        key = (kind, value[:TEXT_MAX], word[:TEXT_MAX], about[:TEXT_MAX])
        if not _count(self._counts, key, value[:TEXT_MAX]):
            self.lost += 1

    def rows(self) -> list[Row]:
        """Return what is noted."""
        return [[*row.key[:3], row.value, row.key[3]] for row in self._counts]

    def clear(self) -> None:
        """Forget all of it: it has been reported."""
        self._counts = _counts(ROWS)


class RefusalReporter:
    """Reports the offences at gate and door."""

    def __init__(self, trust: Reports) -> None:
        self._trust = trust
        self._counts = RefusalCounts()
        self._throttle = Throttle(REPORT_S, self._report)

    def frame(self, origin: Origin, verdict: GateVerdict) -> None:
        """The gate refused a frame."""
        if self._counts.frame(origin, verdict):
            self._throttle.soon()

    def link(self, loop: str, reason: str) -> None:
        """Something came over a loop's channel that is no frame at all."""
        self._counts.note(CHANNEL, loop, reason)
        self._throttle.soon()

    def session_over_budget(self, session: bytes, budget: Budget) -> None:
        """Note that the subject of a session used more than its share of Primary."""
        self._counts.note(SESSION, session.hex(), budget)
        self._throttle.soon()

    def door(self, key: str, origin: Origin | None, word: str) -> None:
        """The door ended a connection: its session is charged, if it carried one, else its address."""
        if origin is not None:
            self._counts.note(SESSION, origin.session.hex(), word)
        else:
            self._counts.note(ADDRESS, key, word)
        self._throttle.soon()

    def recipient_untrusted(self, data: bytes, reason: str) -> None:
        """A component of this process refused a frame. Only what its sender used too much of is told."""
        if not budget_of(reason):
            return
        try:
            session = parse_header_untrusted(parse_frame_untrusted(data).header).session
        except PeerError:
            return
        self._counts.note(SESSION, session.hex(), reason)
        self._throttle.soon()

    def over_budget(self, client: str, budget: Budget) -> None:
        """Note that a client used more than its share. It is no offence of a session, so its name is what counts."""
        self._counts.note(CHANNEL, client, budget)
        self._throttle.soon()

    def _report(self) -> None:
        self._trust.send("offences", self._counts.rows())
        self._counts.clear()


class ClosedConnections:
    """Connections that the door ended, by reason between two heartbeats. Pure."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[str, int]] = {}

    def note(self, address: str, word: str) -> None:
        """Note one connection; `word` is why."""
        word = word[:WORD_MAX]
        _, count = self._counts.get(word, ("", 0))
        if count or len(self._counts) < CLOSED_REASONS:
            self._counts[word] = (address[:WORD_MAX], count + 1)

    def waiting(self) -> list[tuple[str, str, int]]:
        """Return (the last address, why, how often) for each reason that is not reported."""
        return [(address, word, count) for word, (address, count) in self._counts.items()]

    def forget(self, entry: tuple[str, str, int]) -> None:
        """Forget a reason that has been reported."""
        del self._counts[entry[1]]


class RecipientReports:
    """Reports frames that the gate let through and that a component here refuses."""

    def __init__(self, trust: Reports) -> None:
        self._trust = trust
        self._counts = _counts(RECIPIENT_ROWS)
        self._throttle = Throttle(REPORT_S, self._report)

    def note_untrusted(self, data: bytes, reason: str) -> None:
        """Note a frame that a component here has refused, with the reason."""
        if reason not in REPORTED and not budget_of(reason):
            return
        try:
            session = parse_header_untrusted(parse_frame_untrusted(data).header).session
        except PeerError:
            return
        self._note(session, reason)

    def refused(self, session: bytes, reason: str) -> None:
        """Note that a component here has refused a frame of a session."""
        if reason in REPORTED:
            self._note(session, reason)

    def over_budget(self, session: bytes, budget: Budget) -> None:
        """Note that the subject of a session used more than its share here."""
        self._note(session, budget)

    def _note(self, session: bytes, word: str) -> None:
        _count(self._counts, (session, word), session.hex())
        self._throttle.soon()

    def _report(self) -> None:
        rows: list[RecipientRow] = [[*row.key, row.value] for row in self._counts]
        self._trust.send("recipient_reports", rows)
        self._counts = _counts(RECIPIENT_ROWS)
