"""Spans of the handlers of a process: which calls are sampled, and what is said of them.

Whether a call is traced, its caller says; whether that is believed, the host does. A client's wish counts as often as
`traces.most_per_s` lets it, in each process. A component asks on behalf of a call that was looked at there.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

from tlsrt.channels.control.spans import Span, SpanKind, encode_span
from tlsrt.channels.frames.frame import Header
from tlsrt.channels.frames.trace import SAMPLED, Trace, decode_trace_untrusted
from tlsrt.config.collectors import TracesConfig
from tlsrt.rate_limit import Bucket

_CLIENT = "client/"


class Tracer:
    """What a process says of itself. `chance` gives numbers from 0 to 1, `noise` random bytes."""

    def __init__(
        self, ratio: float, most_per_s: float, chance: Callable[[], float], noise: Callable[[int], bytes],
        clock: Callable[[], float] = time.monotonic, wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self._ratio = ratio
        self._wishes = Bucket(most_per_s, most_per_s)
        self._chance = chance
        self._noise = noise
        self._clock = clock
        self._wall_ns = wall_ns
        self._descriptor = -1
        self.lost = 0

    def socket_came(self, descriptor: int) -> None:
        """Say spans on this socket from now on, which does not block and is ours from here on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor

    def begin(self, header: Header) -> HandlerSpan | None:
        """Return the span of a call that is sampled; None for one that is not."""
        if self._descriptor < 0:
            return None
        if not header.correlation:
            if self._ratio <= 0.0 or self._chance() >= self._ratio:
                return None
            parent, trace = bytes(8), Trace(self._noise(16), self._noise(8), SAMPLED)
        else:
            asked = decode_trace_untrusted(header.correlation)
            if not asked.is_sampled:
                return None
            if header.src.startswith(_CLIENT) and not self._wishes.take(self._clock()):
                return None
            parent, trace = asked.span_id, asked._replace(span_id=self._noise(8))
        return HandlerSpan(self, header, trace, parent, self._wall_ns())

    def end(self, span: HandlerSpan, error: str) -> None:
        """Say that a span has ended."""
        header, trace = span.header, span.trace
        said = Span(
            trace.trace_id, trace.span_id, span.parent, SpanKind.SERVER, f"{header.dst}/{header.method}", header.dst,
            header.src, span.began_ns, self._wall_ns(), error, trace.state,
        )  # fmt: skip
        try:
            os.write(self._descriptor, encode_span(said))
        except OSError:  # it is full, or nothing reads it
            self.lost += 1


class HandlerSpan:
    """One call that is sampled."""

    __slots__ = ("_tracer", "began_ns", "header", "parent", "trace")

    def __init__(self, tracer: Tracer, header: Header, trace: Trace, parent: bytes, began_ns: int) -> None:
        self._tracer = tracer
        self.header = header
        self.trace = trace
        self.parent = parent
        self.began_ns = began_ns

    def end(self, error: str = "") -> None:
        self._tracer.end(self, error)


def tracer_of(config: TracesConfig) -> Tracer | None:
    """Return the tracer of a process; None for a host without a collector of spans."""
    return Tracer(config.ratio, config.most_per_s, random.random, os.urandom) if config.endpoint else None
