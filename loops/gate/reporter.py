"""Tells the authority what gate and door refused: at once, then every 50 ms as long as there is more. asyncio."""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.loops.gate.refusals import ADDRESS, CHANNEL, REPORT_S, SESSION, RefusalCounts, Row
from tlsrt.loops.gate.state import GateVerdict, Origin
from tlsrt.loops.runtime.throttle import Throttle


class RefusalReporter:
    """The counts, and the time of the next report. `send` may raise PeerError; then that report is lost."""

    def __init__(self, send: Callable[[list[Row]], None]) -> None:
        self._send = send
        self._refusals = RefusalCounts()
        self._paced = Throttle(REPORT_S, lambda: self._send(self._refusals.take()))

    def frame(self, origin: Origin, verdict: GateVerdict) -> None:
        """The gate refused a frame."""
        if self._refusals.frame(origin, verdict):
            self._paced.soon()

    def link(self, loop: str, reason: str) -> None:
        """Something came over a loop's channel that is no frame at all."""
        self._refusals.note(CHANNEL, loop, reason)
        self._paced.soon()

    def door(self, key: str, origin: Origin | None, word: str) -> None:
        """The door ended a connection: its session is charged, if it carried one, else its address."""
        if origin is not None:
            self._refusals.note(SESSION, origin.session.hex(), word)
        else:
            self._refusals.note(ADDRESS, key, word)
        self._paced.soon()
