"""Faults of a component: what its handlers raise but CallErrors, for its log and for its callers.

Who may call a handler that fails can have it fail often. So a traceback is logged a few times a second at most, and
its last frames only: that of a recursion has a thousand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

from tlsrt.channels.frames.structure import StructureError
from tlsrt.errors import Failed
from tlsrt.rate_limit import Bucket

LOGGED_AT_ONCE = 20
LOGGED_PER_S = 1.0
FRAMES_MAX = 20  # of a traceback


class Faults:
    """The faults of one component; `clock` is BOOTTIME in ms."""

    def __init__(self, subject: str, log: logging.Logger, clock: Callable[[], int]) -> None:
        self._subject = subject
        self._log = log
        self._clock = clock
        self._bucket = Bucket(LOGGED_AT_ONCE, LOGGED_PER_S, clock_hz=1000)
        self._unlogged = 0

    def fold(self, method: str, error: BaseException) -> Failed:
        """Log what a handler has raised, and return what its caller is told."""
        where = f"{self._subject} {method}"
        if isinstance(error, StructureError):
            self._note(f"{where}: its result cannot be sent: {error}", None)
            return Failed(f"{where} gave a result that cannot be sent: {error}")
        self._note(f"{where} failed", error)
        return Failed(f"{where} failed; the reason is in its log")

    def _note(self, sentence: str, error: BaseException | None) -> None:
        if not self._bucket.take(self._clock()):
            self._unlogged += 1
            return
        more = f" ({self._unlogged} faults before this one are not logged)" if self._unlogged else ""
        self._unlogged = 0
        info = (type(error), error, _last_frames(error.__traceback__)) if error is not None else None
        self._log.error("%s%s", sentence, more, exc_info=info)


def _last_frames(trace: TracebackType | None) -> TracebackType | None:
    frames: list[TracebackType] = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    return frames[-FRAMES_MAX:][0] if frames else None
