"""The trace that calls of a client belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tlsrt.channels.frames.trace import CURRENT, Trace, parse_trace_untrusted
from tlsrt.errors import InvalidArgument


@contextmanager
def traced(traceparent: str, tracestate: str = "") -> Iterator[Trace]:
    """Have the calls in this block belong to a trace, as W3C Trace Context writes it; raises InvalidArgument.

    with tlsrt.traced(request.headers["traceparent"]):
        client.call("third/kettle", "boil", 80)
    """
    trace = parse_trace_untrusted(traceparent, tracestate)
    if trace is None:
        raise InvalidArgument(
            "cannot use the traceparent: it is not 00-TRACE-SPAN-FLAGS; give 32, 16 and 2 hex digits in lower case, "
            "neither id all zeros"
        )
    token = CURRENT.set(trace.encode())
    try:
        yield trace
    finally:
        CURRENT.reset(token)
