"""Calls that belong to a trace: what their handler sees, and the span of those that are sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tlsrt.channels.frames.trace import CURRENT, decode_trace_untrusted
from tlsrt.errors import CallError, Failed
from tlsrt.loops.dispatch.in_flight import RunningCall
from tlsrt.loops.dispatch.tracer import Tracer

T = TypeVar("T")


class TracedCalls:
    """Runs requests within their trace. Without a tracer traces pass through, as their callers made them."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    def run(self, request: RunningCall, start: Callable[[], T]) -> T:
        """Start a request within its trace, or without one. Raises what `start` raises."""
        header, span = request.header, None
        trace = header.correlation
        if self._tracer is not None:
            span = self._tracer.begin(header)
            if span is not None:
                trace = span.trace.encode()
            elif trace:
                trace = decode_trace_untrusted(trace)._replace(flags=0).encode()
        token = CURRENT.set(trace)
        try:
            return start()
        finally:
            CURRENT.reset(token)
            if span is not None and request.task is not None:
                ended = span.end
                request.task.add_done_callback(lambda task: ended("cancelled" if task.cancelled() else request.fault))
            elif span is not None:
                span.end(request.fault)


def code_of(error: BaseException) -> str:
    """Return the word that the span of a call has for its error: what its caller is told, or `failed`."""
    return str(error.code) if isinstance(error, CallError) else Failed.code
