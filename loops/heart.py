"""The beat of an event loop: when it comes, how late, under which name, and the records that leave with it.

It is a timer of this very event loop and nothing else, so whatever holds the event loop up holds the beat up. The
supervisor wakes up once for a beat and what is sent with it.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable

from tlsrt.channels.control import ControlChannel
from tlsrt.channels.pulse import pulse_name
from tlsrt.sandbox.syscalls import name_thread

BEAT_S = 0.5
REPORTS_PER_BEAT = 8  # of components; the supervisor takes 50 records a second of a loop


class Heart:
    """Calls `each` with the event loop's time at every beat; that calls `send` when there is a beat to be sent."""

    def __init__(self, loop: str, life: ControlChannel, each: Callable[[float], None]) -> None:
        self._loop = loop
        self._life = life
        self._each = each
        self._next = 0.0
        self._late_us = 0
        self.beats = 0

    def start(self) -> None:
        """Begin, on the running event loop."""
        loop = asyncio.get_running_loop()
        self._next = loop.time() + BEAT_S
        loop.call_at(self._next, self._wake)

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._late_us = max(0, int((now - self._next) * 1e6))
        self._next = now + BEAT_S
        loop.call_at(self._next, self._wake)
        self._each(now)

    def send(self, reports: dict[int, tuple[int, int, int]], depth: int, *figures: int) -> None:
        """Send some reports about components, then a beat with its figures; raises PeerError as the channel does."""
        self.beats += 1
        name_thread(pulse_name(self._loop, self.beats))
        for index in list(reports)[:REPORTS_PER_BEAT]:
            self._life.send("health", *reports.pop(index))
        memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._life.send("beat", self.beats, self._late_us, depth, memory_kib, *figures)
