"""Heartbeat of an event loop: its time, lateness, thread name, and the records with it.

It comes from a callback of this very event loop and from nothing else, so whatever holds the event loop up holds the
beat up. The authority's feed wakes every loop twice a second, and each wake-up of a host at rest costs: so a beat that
is almost due goes along with it, and a loop beats by itself only where the feed is late or missing. The supervisor
wakes up once for a beat and what is sent with it, and its rounds keep the same time (`EventLoop.call_next`), so that it
finds the beats of all loops waiting when it has read some.

A process at rest beats when it is asked, which it is as soon as it is not seen to sleep any more
(supervisor/supervision/visible_sleep.py), and when it has something to look at. When that is can change with anything
that runs in it, also right after a beat that was asked for: so it is found anew before each sleep of its event loop.
"""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import Callable

from tlsrt.channels.control.heartbeat_name import pulse_name
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.event_loop import EventLoop
from tlsrt.sandbox.syscalls import name_thread

BEAT_S = 0.5
LATEST_S = BEAT_S + 0.02  # without a feed
EARLY_S = 0.1  # so much before its time a beat goes along, at most
SOONER_S = 0.01  # by which a beat of one at rest is worth to be moved
REPORTS_PER_BEAT = 8  # of components; the supervisor takes 50 records a second of a loop


class Heartbeat:
    """Calls `each` with the event loop's time at every beat. That calls `send` when there is a beat to be sent."""

    def __init__(self, loop: str, life: ControlChannel, each: Callable[[float], None]) -> None:
        self._loop = loop
        self._life = life
        self._each = each
        self._next = 0.0
        self._last = -math.inf  # when it has beaten
        self._timer: asyncio.TimerHandle | None = None
        self._look: Callable[[float], float] | None = None  # of one that rests
        self._late_us = 0
        self.beats = 0

    def start(self) -> None:
        """Begin, on the running event loop."""
        loop = asyncio.get_running_loop()
        self._look = None
        if isinstance(loop, EventLoop):
            loop.ask_before_sleep(None)
        self._next = loop.time() + LATEST_S
        self._timer = loop.call_at(self._next, self._wake)

    def _wake(self) -> None:
        self._last = now = asyncio.get_running_loop().time()
        self._late_us = max(0, int((now - self._next) * 1e6))
        self.start()
        self._each(now)

    def go_along(self) -> None:
        """The process is awake anyway: beat if it is almost time."""
        if self._timer is not None and asyncio.get_running_loop().time() > self._next - EARLY_S:
            self._timer.cancel()
            self._wake()

    def beat_now(self) -> None:
        """Beat at once: it is asked for."""
        if self._timer is not None:
            self._timer.cancel()
            self._next = asyncio.get_running_loop().time()
            self._wake()

    def rest_until(self, look: Callable[[float], float]) -> None:
        """Beat no more, unless it is asked for, before there is something to look at.

        `look` returns when that is, at a time of the event loop; it may be infinite, and another one after each turn.
        """
        if self._timer is None:
            return
        loop = asyncio.get_running_loop()
        self._timer.cancel()
        self._next, self._look = math.inf, look
        self._look_again()
        if isinstance(loop, EventLoop):
            loop.ask_before_sleep(self._look_again)

    def _look_again(self) -> None:
        """Beat sooner if there is something to look at sooner. One that comes for nothing finds when to come again.

        It never beats more often than one that does not rest: there may be something new with each turn of the loop.
        """
        loop = asyncio.get_running_loop()
        if self._look is None or self._timer is None:
            return
        now = loop.time()
        when = max(now, self._look(now), self._last + LATEST_S)
        if when >= self._next - SOONER_S:
            return
        self._timer.cancel()
        self._next = when
        self._timer = loop.call_at(when, self._wake)

    def go_on(self) -> None:
        """Beat again as others do."""
        if self._timer is not None:
            self._timer.cancel()
            self.start()

    def send(self, reports: dict[int, tuple[int, int, int]], depth: int, *figures: int) -> None:
        """Send some reports about components, then a beat with its figures. Raises PeerError as the channel does."""
        self.beats += 1
        name_thread(pulse_name(self._loop, self.beats))
        for index in list(reports)[:REPORTS_PER_BEAT]:
            self._life.send("health", *reports.pop(index))
        memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._life.send("beat", self.beats, self._late_us, depth, memory_kib, *figures)
