"""Tells the authority what gate and door refused: at once, then every 50 ms as long as there is more. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tlsrt.errors import PeerError
from tlsrt.loops.gate_state import Origin, Verdict
from tlsrt.loops.refusals import ADDRESS, CHANNEL, REPORT_S, SESSION, Refusals, Row


class Reporter:
    """The counts, and the time of the next report. `send` may raise PeerError; then that report is lost."""

    def __init__(self, send: Callable[[list[Row]], None]) -> None:
        self._send = send
        self._refusals = Refusals()
        self._not_before = 0.0  # the loop's time
        self._timer: asyncio.TimerHandle | None = None

    def frame(self, origin: Origin, verdict: Verdict) -> None:
        """The gate refused a frame."""
        if self._refusals.frame(origin, verdict):
            self._soon()

    def link(self, loop: str, reason: str) -> None:
        """Something came over a loop's channel that is no frame at all."""
        self._refusals.note(CHANNEL, loop, reason)
        self._soon()

    def door(self, key: str, origin: Origin | None, word: str) -> None:
        """The door ended a connection: its session is charged, if it carried one, else its address."""
        if origin is not None:
            self._refusals.note(SESSION, origin.session.hex(), word)
        else:
            self._refusals.note(ADDRESS, key, word)
        self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._not_before), self._report)

    def _report(self) -> None:
        self._timer = None
        self._not_before = asyncio.get_running_loop().time() + REPORT_S
        try:
            self._send(self._refusals.take())
        except PeerError:
            return  # an authority that is busy or away misses it; whether it is there at all is found out elsewhere
