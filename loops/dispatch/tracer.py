"""Spans of a process: which of its calls are sampled, and what is said of them.

Whether a call is traced, its caller says; whether that is believed, the host does. A client's wish counts as often as
`traces.most_per_s` lets it, in each process. A component asks on behalf of a call that was looked at there. All spans
of a process together are no more than the export process reads, so no flood has it encode others.

Both are fair: of what there is, a part is kept for clients and methods that had nothing lately, so one that floods
takes what comes in, and not the places of others.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence

from tlsrt.channels.control.life import SpansMessage
from tlsrt.channels.control.spans import SPANS_BURST, SPANS_PER_S, Span, SpanKind, encode_span
from tlsrt.channels.frames.frame import Header
from tlsrt.channels.frames.trace import CURRENT, HEAD_BYTES, SAMPLED, Trace, decode_trace_untrusted
from tlsrt.errors import CallError, Cancelled, Failed
from tlsrt.rate_limit import FairBucket

_CLIENT = "client/"
RESERVE = SPANS_BURST // 4  # spans that are kept for places that had none lately


class Tracer:
    """What a process says of itself, while it `is_on`.

    `chance` gives numbers from 0 to below 1, `noise` random bytes.
    """

    def __init__(
        self, chance: Callable[[], float] = random.random, noise: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic, wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self.is_on = False
        self._ratio = 0.0
        self._wishes = FairBucket(0.0, 0.0, 0.0)
        self._all = FairBucket(SPANS_BURST, SPANS_PER_S, RESERVE)
        self._chance = chance
        self._noise = noise
        self._clock = clock
        self._wall_ns = wall_ns
        self._descriptor = -1
        self._until_next = math.inf
        self.said = self.lost = 0
        self._lost_told = 0

    def hear(self, asked: SpansMessage, descriptors: Sequence[int]) -> None:
        """Begin as the supervisor has it on the life channel."""
        self.begin_saying(descriptors[0], asked.ratio_ppb / 1e9, asked.most_per_ks / 1000)

    def begin_saying(self, descriptor: int, ratio: float, most_per_s: float) -> None:
        """Say spans on this socket from now on, which does not block and is ours, until its other end is closed."""
        self.end_saying()
        self.is_on, self._descriptor, self._ratio = True, descriptor, ratio
        one = max(1.0, most_per_s) if most_per_s else 0.0
        self._wishes = FairBucket(2 * one, most_per_s, one)  # as many again, for those that ask rarely
        self._until_next = self._drawn()

    def end_saying(self) -> None:
        """Say no more: traces pass through, as their callers made them."""
        if self.is_on:
            os.close(self._descriptor)
        self.is_on, self._descriptor = False, -1

    def figures(self) -> Iterator[tuple[str, list[str], int]]:
        """Return what the metrics of the host have of it; nothing of one that never said any."""
        if self.is_on or self.said:
            yield "tlsrt_spans", [], self.said
            yield "tlsrt_lost_spans", [], self.lost

    # Which

    def is_due(self) -> bool:
        """Tell whether a trace begins with this call, which has none: `ratio` of them, each by chance."""
        self._until_next -= 1.0
        if self._until_next >= 0.0:
            return False
        self._until_next = self._drawn()
        return True

    def _drawn(self) -> float:
        """Return how many calls, rounded down, come before the next that is sampled: one draw for all of them."""
        if not self._ratio:
            return math.inf
        return math.log1p(-self._chance()) / math.log1p(-self._ratio) if self._ratio < 1.0 else 0.0

    def begin(self, header: Header) -> OpenSpan | None:
        """Return the span of a request that is sampled, None for one that is not. Without a trace it begins one."""
        asked = decode_trace_untrusted(header.correlation) if header.correlation else None
        if asked is not None:
            if not asked.is_sampled:
                return None
            is_clients = header.src.startswith(_CLIENT)
            if is_clients and not self._wishes.take(self._clock(), header.src, f"{header.dst}/{header.method}"):
                return None
        return self._begun(SpanKind.SERVER, f"{header.dst}/{header.method}", header.dst, header.src, asked)

    def begin_call(self, component: str, target: str, method: str) -> OpenSpan | None:
        """Return the span of a call that a component makes within a trace that is sampled."""
        current = self._current()
        return self._begun(SpanKind.CLIENT, f"{target}/{method}", component, target, current) if current else None

    def begin_program(self, component: str, program: str) -> OpenSpan | None:
        """Return the span of a run of a component's program within a trace that is sampled."""
        current = self._current() if self.is_on else None
        return (
            self._begun(SpanKind.INTERNAL, f"{component}/{program}", component, program, current) if current else None
        )

    def begin_job(self, component: str, method: str, owner: str, put: bytes) -> OpenSpan | None:
        """Return the span of a run of a job: within the sampled trace in which it was `put`, or of one of its own."""
        if not self.is_on or (not put and not self.is_due()):
            return None
        above = decode_trace_untrusted(put) if put else None
        return self._begun(SpanKind.SERVER, f"{component}/{method}", component, owner, above)

    def sampled_trace(self) -> bytes:
        """Return the trace of what runs, encoded; empty if it is not sampled here."""
        data = CURRENT.get() if self.is_on else b""
        return data if data and data[HEAD_BYTES - 1] & SAMPLED else b""

    def _current(self) -> Trace | None:
        data = self.sampled_trace()
        return decode_trace_untrusted(data) if data else None

    def _begun(
        self, kind: SpanKind, name: str, component: str, peer: str, above: Trace | None
    ) -> OpenSpan | None:  # fmt: skip
        """Return a span below another, or of a trace that begins. One too many costs no random bytes."""
        if not self._all.take(self._clock(), peer, name):
            self.lost += 1
            return None
        if above is None:
            trace, parent = Trace(self._noise(16), self._noise(8), SAMPLED), bytes(8)
        else:
            trace, parent = above._replace(span_id=self._noise(8)), above.span_id
        return OpenSpan(self, kind, name, component, peer, trace, parent, self._wall_ns())

    # What is said

    def end(self, span: OpenSpan, error: str) -> None:
        """Say that a span has ended, with the code of an error, or empty."""
        if not self.is_on:
            return
        trace = span.trace
        said = Span(
            trace.trace_id, trace.span_id, span.parent, span.kind, span.name, span.component, span.peer, span.began_ns,
            self._wall_ns(), error, trace.state, self.lost - self._lost_told,
        )  # fmt: skip
        try:
            os.write(self._descriptor, encode_span(said))
        except BlockingIOError:  # it is full
            self.lost += 1
        except OSError:  # there is no collector any more
            self.end_saying()
        else:
            self.said += 1
            self._lost_told = self.lost


class OpenSpan:
    """One call that is sampled."""

    __slots__ = ("_tracer", "began_ns", "component", "kind", "name", "parent", "peer", "trace")

    def __init__(
        self, tracer: Tracer, kind: SpanKind, name: str, component: str, peer: str, trace: Trace, parent: bytes,
        began_ns: int,
    ) -> None:  # fmt: skip
        self._tracer = tracer
        self.kind = kind
        self.name = name
        self.component = component
        self.peer = peer
        self.trace = trace
        self.parent = parent
        self.began_ns = began_ns

    def end(self, error: str = "") -> None:
        self._tracer.end(self, error)


def code_of(error: BaseException) -> str:
    """Return the word that the span of a call has for its error: what a caller would be told."""
    if isinstance(error, asyncio.CancelledError):
        return Cancelled.code
    return error.code if isinstance(error, CallError) else Failed.code
