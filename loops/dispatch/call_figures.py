"""Figures of calls: how many of each method ended how, and a histogram of how long they took.

Only where a host serves metrics: the replies of a component are `MeasuredReplies` then. A call costs two readings of a
clock and one list more, about a microsecond. Methods are those that the component has; its callers name no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator

from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.control.figures import BUCKETS, bucket_of
from tlsrt.channels.frames.frame import FLAG_FINAL, FrameKind
from tlsrt.channels.links.channel import FrameSender
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.loops.dispatch.in_flight import InFlight, RunningCall
from tlsrt.loops.dispatch.replies import Replies

METHODS_MOST = 64
OTHER = "other"  # methods beyond these, and what is none
_GOOD, _ERROR, _SUM = BUCKETS, BUCKETS + 1, BUCKETS + 2  # behind the buckets


class CallFigures:
    """The figures of one component; `clock` is in seconds."""

    def __init__(self, methods: Container[str], clock: Callable[[], float] = time.perf_counter) -> None:
        self._methods = methods
        self.clock = clock
        self._rows: dict[str, list[float]] = {}

    def note(self, method: str, began: float, *, is_good: bool) -> None:
        """Count a call that has ended."""
        took_s = self.clock() - began
        row = self._rows.get(method) or self._row(method)
        row[bucket_of(took_s)] += 1
        row[_GOOD if is_good else _ERROR] += 1
        row[_SUM] += took_s

    def _row(self, method: str) -> list[float]:
        name = method if method in self._methods and len(self._rows) < METHODS_MOST else OTHER
        return self._rows.setdefault(name, [0.0] * (_SUM + 1))

    def rows(self) -> Iterator[tuple[str, int, int, list[float]]]:
        """Return method, how many had a result and an error, and the value of the histogram."""
        for method, row in self._rows.items():
            yield method, int(row[_GOOD]), int(row[_ERROR]), [*map(int, row[:BUCKETS]), round(row[_SUM], 6)]


class MeasuredReplies(Replies):
    """The same replies, each counted as it is sealed; the call that it ends has the time of its beginning."""

    def __init__(
        self, figures: CallFigures, endpoint: Endpoint, channel: FrameSender, clock: Callable[[], int],
        in_flight: InFlight, batcher: Batcher | None,
    ) -> None:  # fmt: skip
        super().__init__(endpoint, channel, clock, in_flight, batcher)
        self._figures = figures

    def _note(self, request: RunningCall, kind: FrameKind, flags: int = 0) -> None:
        is_end = kind in (FrameKind.REPLY, FrameKind.ERROR) or (kind == FrameKind.ITEM and flags & FLAG_FINAL)
        if is_end and request.began:
            self._figures.note(request.header.method, request.began, is_good=kind != FrameKind.ERROR)
            request.began = 0.0

    def send(self, request: RunningCall, kind: FrameKind, body: bytes) -> None:
        self._note(request, kind)
        super().send(request, kind, body)

    async def send_in_time(
        self, request: RunningCall, kind: FrameKind, body: bytes, *, part: int = 0, flags: int = 0
    ) -> None:
        self._note(request, kind, flags)
        await super().send_in_time(request, kind, body, part=part, flags=flags)

    def send_or_drop(self, request: RunningCall, kind: FrameKind, body: bytes) -> None:
        self._note(request, kind)
        super().send_or_drop(request, kind, body)

    def add_to_bundle(self, request: RunningCall, kind: FrameKind, body: bytes) -> bool:
        if not super().add_to_bundle(request, kind, body):
            return False
        self._note(request, kind)
        return True


def replies_of(
    figures: CallFigures | None, endpoint: Endpoint, channel: FrameSender, clock: Callable[[], int],
    in_flight: InFlight, batcher: Batcher | None,
) -> Replies:  # fmt: skip
    """Return the replies of a component, measured if there are figures for that."""
    if figures is None:
        return Replies(endpoint, channel, clock, in_flight, batcher)
    return MeasuredReplies(figures, endpoint, channel, clock, in_flight, batcher)
