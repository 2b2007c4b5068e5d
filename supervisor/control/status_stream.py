"""The verb follow_status: the status again and again, with what every process uses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tlsrt.errors import PeerError
from tlsrt.supervisor.control.stream import Follower, encode
from tlsrt.supervisor.process.event_loop import EventLoop, Timer
from tlsrt.supervisor.process.proc import Usage
from tlsrt.supervisor.supervision.feature import Request

SHORTEST_S, LONGEST_S = 0.2, 3600.0  # to look at all processes takes some milliseconds of the supervisor


FIRST_S = 0.2  # between the first two, so that the second one has rates soon


def interval_untrusted(request: Request) -> float:
    """Return the seconds between two documents; raises PeerError for what is no such number."""
    value = request.get("interval_s", 1.0)
    if type(value) not in (int, float) or not math.isfinite(value) or not SHORTEST_S <= value <= LONGEST_S:  # type: ignore[arg-type,operator]
        raise PeerError("bad_interval")
    return float(value)  # type: ignore[arg-type]


class StatusStream:
    """All who follow the status."""

    def __init__(self, event_loop: EventLoop, status: Callable[[], dict[str, Any]]) -> None:
        self._event_loop = event_loop
        self._status = status

    def serve(self, request: Request, follower: Follower) -> None:
        """Begin to answer one request."""
        try:
            interval_s = interval_untrusted(request)
        except PeerError as error:
            follower.send(encode({"error": error.reason}))
            follower.end()
            return
        _Reader(self._event_loop, self._status, follower, interval_s)


class _Reader:
    """One follower, its timer and its last look."""

    def __init__(
        self, event_loop: EventLoop, status: Callable[[], dict[str, Any]], follower: Follower, interval_s: float
    ) -> None:
        self._event_loop = event_loop
        self._status = status
        self._follower = follower
        self._interval_s = interval_s
        self._usage = Usage()
        self._missed = 0
        self._timer: Timer | None = None
        follower.when_closed(self._closed)
        self._tell(FIRST_S)

    def _closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self, next_s: float) -> None:
        self._timer = self._event_loop.call_later(next_s, lambda: self._tell(self._interval_s))
        if self._follower.waiting:
            self._missed += 1
            return
        if self._missed:
            self._follower.send(encode({"dropped": self._missed}))
            self._missed = 0
        document = self._status()
        self._usage.add_to(document, self._event_loop.now)
        self._follower.send(encode(document))
