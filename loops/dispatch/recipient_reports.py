"""Tells the authority of frames that the gate let through and that their recipient refuses: at once, then every 50 ms.

Only what depends on nothing but the bytes of a frame and keys that both sides hold for certain is told: that cannot
happen by accident. What a revocation, an epoch, a respawn, a full queue or time may cause is not: a token that has
ended, a mailbox or epoch of before, an answer to a session of before. asyncio.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.frames.frame import parse_frame_untrusted, parse_header_untrusted
from tlsrt.errors import PeerError
from tlsrt.loops.runtime.throttle import Throttle

ROWS = 32  # of one message; what does not fit is not told, as one row would do
REPORT_S = 0.05  # between two messages
TOLD = frozenset({
    "body_forged", "token_forged", "token_signature", "wrong_epoch", "wrong_session", "wrong_source", "not_allowed",
    "replay",
})  # fmt: skip

Row = list[bytes | str | int]  # session, word, how often


class RecipientReports:
    """Counts between two messages. `send` may raise PeerError; then that message is lost."""

    def __init__(self, send: Callable[[list[Row]], None]) -> None:
        self._send = send
        self._counts: dict[tuple[bytes, str], int] = {}
        self._paced = Throttle(REPORT_S, self._report)

    def saw_untrusted(self, data: bytes, reason: str) -> None:
        """Note a frame that a component here has refused, with the reason."""
        if reason not in TOLD:
            return
        try:
            session = parse_header_untrusted(parse_frame_untrusted(data).header).session
        except PeerError:
            return
        key = (session, reason)
        if key in self._counts or len(self._counts) < ROWS:
            self._counts[key] = self._counts.get(key, 0) + 1
        self._paced.soon()

    def _report(self) -> None:
        rows: list[Row] = [[*key, count] for key, count in self._counts.items()]
        self._counts.clear()
        self._send(rows)
