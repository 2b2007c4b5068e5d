"""The event bus of a host: events are numbered, kept in a ring, and given to every listener.

`emit` returns when every listener has been called, in the order in which they came. So a listener that must have
written an event before its effect can, if the event is emitted before the effect; the others only take note that there
is something and look into the ring later. A listener must not block, raise, or emit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from tlsrt.channels.clock import boottime_ms
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event import SUBJECT_MAX, WORDS_MAX, HostEvent, printable_fields
from tlsrt.supervisor.events.event_kinds import EventKind
from tlsrt.supervisor.process.exit_reason import Death
from tlsrt.text import sentence

RING_EVENTS = 1024


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class EventBus:
    """The events of one life of a host. It outlives every process but the supervisor, and so do their numbers."""

    def __init__(
        self,
        capacity: int = RING_EVENTS,
        *,
        wall: Callable[[], int] = wall_ms,
        boottime: Callable[[], int] = boottime_ms,
    ) -> None:
        self._ring: deque[HostEvent] = deque(maxlen=capacity)
        self._wall = wall
        self._boottime = boottime
        self.boot = ""  # the boot id, as status shows it
        self.last = 0  # number of the newest event
        self.listeners: list[Callable[[HostEvent], None]] = []

    @property
    def first(self) -> int:
        """Return the number of the oldest event that is kept; one more than `last` if there is none."""
        return self.last - len(self._ring) + 1

    def emit(self, name: str, subject: str, words: str = "", /, **fields: object) -> HostEvent:
        """Note that something happened; `name` is one of `catalog.py`. KeyError for another is a bug of ours."""
        kind = EVENTS[name]
        self.last += 1
        event = HostEvent(
            self.last, self._wall(), self._boottime(), self.boot, kind, sentence(subject, SUBJECT_MAX),
            sentence(words, WORDS_MAX), printable_fields(fields),
        )  # fmt: skip
        self._ring.append(event)
        for listener in self.listeners:
            listener(event)
        return event

    def emit_death(self, name: str, death: Death, served_s: float, *, is_wanted: bool, **facts: object) -> None:
        """Emit the end of a process: `ended` if it was asked to and exited with 0, else `died`."""
        facts["served_s"] = round(served_s, 3)
        if is_wanted and death.code == 0:
            self.emit("ended", name, cause=str(death.cause), **facts)
        else:
            self.emit("died", name, str(death), cause=str(death.cause), code=death.code, signal=death.signal, **facts)

    def after(self, seq: int) -> Iterator[HostEvent]:
        """Return the kept events with a number above `seq`, oldest first."""
        missing = max(0, seq - self.first + 1)
        return (self._ring[index] for index in range(missing, len(self._ring)))


class EventCursor:
    """The position of one reader in the ring, who reads events of `kinds` only, if any are named.

    The ring is its queue: a slow reader costs nothing, and loses what is overwritten.
    """

    def __init__(self, bus: EventBus, seq: int, kinds: frozenset[EventKind] = frozenset()) -> None:
        self._bus = bus
        self._kinds = kinds
        self.seq = seq  # the last one that was read, or passed over

    @property
    def is_at_end(self) -> bool:
        return self.seq >= self._bus.last

    def lost(self) -> int:
        """Return how many events, of whatever kind, were overwritten before they were read; go on behind them."""
        count = max(0, self._bus.first - 1 - self.seq)
        self.seq += count
        return count

    def take(self, count: int) -> Iterator[HostEvent]:
        """Read up to `count` events on; call `lost` first."""
        for event in islice(self._bus.after(self.seq), count):
            self.seq = event.seq
            if not self._kinds or event.name.kind in self._kinds:
                yield event
