"""Recipient reports: frames that passed the gate and were refused by their recipient. Pure, bounded.

The gate proves of every frame whose it is, and cannot read its body; so a frame that its recipient refuses is the
sender's own, or was made or changed by Primary, or the recipient lies. One report proves none of the three, and has no
consequence. What is behind several is found by asking what could be:

- Two recipients in two loops, neither of them the sender's, refuse frames of one session: it is the sender's, or
  Primary's, which may cut off any peer. The session is the source.
- No single loop is sender or recipient of all of them: then Primary is behind them, or two loops at least are
  captured, and two lock the host anyway. So a captured loop, which is a party to all that it sends and to all that it
  says, never accuses Primary. Frames of clients count for nothing here: two clients are no two loops.

What Primary's own components send counts as the word of its recipient alone, as Primary cannot speak for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from tlsrt.channels.frames.frame import SESSION_BYTES
from tlsrt.errors import PeerError

WINDOW_MS = 60_000  # older reports do not count
SESSIONS_MAX = 512  # accused at the same time
ROWS_MAX = 32  # of one message
WORD_MAX = 32


class Suspect(StrEnum):
    """What a report speaks against; the names are those of detectors."""

    UNKNOWN = "recipient"
    SENDER = "recipients"
    GATE = "gate"


class RecipientReport(NamedTuple):
    """How often a recipient refused frames of a session for one reason."""

    session: bytes
    word: str
    times: int


class RecipientReportTable:
    """The latest reports. `gate` is Primary's name; times are BOOTTIME in ms."""

    def __init__(self, gate: str) -> None:
        self._gate = gate
        self._of_session: OrderedDict[bytes, dict[str, int]] = OrderedDict()  # recipients, and when
        self._pairs: dict[frozenset[str], int] = {}  # loops that are a party to it, and when

    def heard(self, recipient: str, session: bytes, sender: str, now: int) -> set[Suspect]:
        """Note a report of a recipient's loop. `sender` is the loop of the session's component, empty for a client."""
        recipients = {loop: at for loop, at in self._of_session.pop(session, {}).items() if now - at < WINDOW_MS}
        if recipient != sender:
            recipients[recipient] = now
        self._of_session[session] = recipients
        if len(self._of_session) > SESSIONS_MAX:
            self._of_session.popitem(last=False)
        found = {Suspect.UNKNOWN}
        if len(recipients) > 1:
            found.add(Suspect.SENDER)
        if sender:
            self._pairs[frozenset({recipient, sender} - {self._gate})] = now
            self._pairs = {pair: at for pair, at in self._pairs.items() if now - at < WINDOW_MS}
            if not frozenset.intersection(*self._pairs):
                found.add(Suspect.GATE)
                self._pairs.clear()  # it is said; who unlocks the host begins anew
        return found


def recipient_reports_untrusted(rows: Sequence[Any]) -> list[RecipientReport]:
    """Return the reports in a message; raise PeerError if it is none."""
    if len(rows) > ROWS_MAX:
        raise PeerError("bad_testimony")
    found: list[RecipientReport] = []
    for row in rows:
        match row:
            case [bytes(session), str(word), int(times)] if (
                len(session) == SESSION_BYTES and len(word) <= WORD_MAX and 0 < times < 1 << 32
            ):
                found.append(RecipientReport(session, word, times))
            case _:
                raise PeerError("bad_testimony")
    return found
