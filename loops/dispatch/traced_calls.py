"""Calls that belong to a trace: what a handler sees, what its own calls take along, and the spans of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from tlsrt.channels.frames.trace import CURRENT, begin_traced, decode_trace_untrusted
from tlsrt.errors import Cancelled
from tlsrt.loops.dispatch.in_flight import RunningCall
from tlsrt.loops.dispatch.tracer import Tracer, code_of

T = TypeVar("T")


def run_traced(tracer: Tracer, request: RunningCall, start: Callable[[], T]) -> T:
    """Start a request within its trace, or with one that begins here. Raises what `start` raises.

    Where no spans are said, traces pass through as their callers made them. What is not sampled here goes on as such.
    """
    trace = request.header.correlation
    if not tracer.is_on:
        return begin_traced(trace, start)
    span = tracer.begin(request.header)
    if span is None:
        return begin_traced(decode_trace_untrusted(trace)._replace(flags=0).encode() if trace else b"", start)
    try:
        return begin_traced(span.trace.encode(), start)
    finally:
        if request.task is None:
            span.end(request.fault)
        else:
            ended = span.end
            request.task.add_done_callback(lambda task: ended(Cancelled.code if task.cancelled() else request.fault))


class TracedPort:
    """Calls that one component makes, each with a span of its own if what runs is sampled."""

    def __init__(self, component: str, tracer: Tracer) -> None:
        self._component = component
        self._tracer = tracer

    @property
    def is_sampled(self) -> bool:
        """Tell whether what runs belongs to a trace that is sampled here."""
        return bool(self._tracer.sampled_trace())

    async def call(self, target: str, method: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Make a call, or an upload; `begin` begins it."""
        before, span = CURRENT.get(), self._tracer.begin_call(self._component, target, method)
        if span is None:
            return await begin()
        fault = ""
        CURRENT.set(span.trace.encode())
        try:
            return await begin()
        except BaseException as error:
            fault = code_of(error)
            raise
        finally:
            CURRENT.set(before)  # no token: a coroutine that nothing awaits any more is closed in another context
            span.end(fault)

    async def items(self, target: str, method: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Iterate a stream. Its request is sent when the first item is asked for."""
        before, span = CURRENT.get(), self._tracer.begin_call(self._component, target, method)
        fault = ""
        try:
            if span is not None:
                CURRENT.set(span.trace.encode())
            try:
                item = await anext(items, _END)
            finally:
                CURRENT.set(before)
            while item is not _END:
                yield item
                item = await anext(items, _END)
        except GeneratorExit:
            raise  # its reader has enough
        except BaseException as error:
            fault = code_of(error)
            raise
        finally:
            if span is not None:
                span.end(fault)
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()


_END: Any = object()
