"""What the gate and the door refused, counted by who it came over and why, for the next report. Pure and bounded."""

from __future__ import annotations

from tlsrt.loops.gate.state import GateVerdict, Origin

ROWS = 64  # of one report; what does not fit is counted with the last that did
TEXT_MAX = 128
REPORT_S = 0.05  # between two reports

SESSION, CHANNEL, ADDRESS = "session", "channel", "address"
# What happens to the innocent, and is not even told.
_INNOCENT = frozenset({
    "busy", "unavailable", "no_open_call", "not_attested", "unsynchronised", "deadline", "stale_gate", "stale_mailbox",
    "blocked",
})  # fmt: skip

Row = list[str | int]  # kind, value, word, how often, about


class RefusalCounts:
    """Counts between two reports."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str, str], int] = {}
        self.lost = 0  # that found no room in a report

    def __bool__(self) -> bool:
        return bool(self._counts)

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
        if key in self._counts or len(self._counts) < ROWS:
            self._counts[key] = self._counts.get(key, 0) + 1
        else:
            self.lost += 1

    def take(self) -> list[Row]:
        """Return what was noted since the last call."""
        rows: list[Row] = [[*key[:3], count, key[3]] for key, count in self._counts.items()]
        self._counts.clear()
        return rows
