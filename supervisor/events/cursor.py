"""Where one reader of the ring stands. Pure.

The ring is its queue: a slow reader costs nothing, and loses what is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.events.catalog import EventKind
from tlsrt.supervisor.events.event import HostEvent


class EventCursor:
    """Reads on from `seq`; only events of `kinds`, if there are any."""

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
