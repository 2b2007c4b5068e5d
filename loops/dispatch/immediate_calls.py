"""Immediate calls: requests to handlers that await nothing are answered where they are read. asyncio.

Theory of operation. A handler whose body awaits nothing needs no task, no deadline and no place in a table: it has
ended before anything else can happen. Requests whose arguments all stand in their positions are the rule, and are
checked, run and packed in one pass; those of a bundle within one coroutine, because a handler that is awaited hands
back its result for a third of what sending into it and catching its end costs. A request with an idempotency key, and
one that cannot be read, is the Responder's, in its place of the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.frames.body import decode_value_untrusted, pack_value, request_untrusted
from tlsrt.channels.frames.frame import BATCH_FRAME_MAX, FrameKind, Header, correlation
from tlsrt.errors import InternalError, PeerError
from tlsrt.loops.component.caller import begin_as, end_as
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.invocation import run_at_once
from tlsrt.loops.component.method import MethodSpec
from tlsrt.loops.component.types import to_plain
from tlsrt.loops.dispatch.call_figures import CallFigures
from tlsrt.loops.dispatch.in_flight import RunningCall
from tlsrt.loops.dispatch.replies import Replies
from tlsrt.loops.dispatch.told_errors import ToldErrors
from tlsrt.loops.dispatch.traced_calls import run_traced
from tlsrt.loops.dispatch.tracer import Tracer

Start = Callable[[RunningCall, Any], PeerError | None]
_NO_NAMES: dict[str, Any] = {}
_PLAIN_END = b"\x80\xc0"  # of a request without names and key


class ImmediateCalls:
    """Answers requests to handlers of one component. `start` answers a request of another kind."""

    def __init__(
        self, component: Component, replies: Replies, errors: ToldErrors, batcher: Batcher | None,
        figures: CallFigures | None, tracer: Tracer, start: Start,
    ) -> None:  # fmt: skip
        self._component = component
        self._replies = replies
        self._errors = errors
        self._batcher = batcher
        self._figures = figures
        self._tracer = tracer
        self._start = start
        methods = component.__tlsrt_methods__.items()
        self.specs = {name: spec for name, spec in methods if spec.immediate}

    def answer(self, spec: MethodSpec, header: Header, body: bytes) -> PeerError | None:
        """Answer a request that came alone, has no flags and no trace. Return why it could not be read."""
        args = _args_untrusted(body) if body[-2:] == _PLAIN_END else None
        if args is None:
            return self._start(RunningCall(correlation(header.session, header.seq), header), body)
        figures = self._figures
        began = figures.clock() if figures is not None else 0.0
        token = begin_as(header.src)
        try:
            kind, answer = FrameKind.REPLY, pack_value(run_at_once(self._component, spec, args, _NO_NAMES))
        except BaseException as error:
            request = RunningCall(correlation(header.session, header.seq), header)
            kind, answer = FrameKind.ERROR, self._errors.of_begun(request, error)
        finally:
            end_as(token)
        if figures is not None:
            figures.note(header.method, began, is_good=kind is FrameKind.REPLY)
        self._replies.send_alone(header, kind, answer)
        return None

    def answer_all(
        self, spec: MethodSpec, header: Header, names: Sequence[bytes], values: Sequence[Any]
    ) -> PeerError | None:
        """Answer the requests of a bundle, in order. Return why one of them could not be read."""
        token = begin_as(header.src)
        running = self._answer_all(spec, header, names, values)
        try:
            running.send(None)
            while True:
                running.throw(InternalError(f"{spec.name} awaits, but was taken for a method that does not"))
        except StopIteration as end:
            refused: PeerError | None = end.value
            return refused
        finally:
            end_as(token)

    async def _answer_all(
        self, spec: MethodSpec, header: Header, names: Sequence[bytes], values: Sequence[Any]
    ) -> PeerError | None:
        component, function, figures = self._component, spec.function, self._figures
        count = -1 if spec.checks is None else len(spec.checks)
        checked, is_structured = spec.checked, spec.returns.structured
        answered: list[bytes] = []
        bodies: list[bytes] = []
        args: list[Any] = []
        named: dict[str, Any] = {}
        refused: PeerError | None = None
        began = 0.0
        is_due = self._tracer.is_due if self._tracer.is_on else None
        for name, value in zip(names, values, strict=True):
            if is_due is not None and is_due():
                request = RunningCall(name, header)
                found = run_traced(self._tracer, request, partial(self._start, request, value))
                refused = refused or found
                continue
            plain = _plain_untrusted(value)
            if plain is None or len(plain) != count:
                plain = None
                args, named, key = _request_untrusted(value)
                if key is not None:
                    found = self._start(RunningCall(name, header), value)
                    refused = refused or found
                    continue
            if figures is not None:
                began = figures.clock()
            try:
                if plain is not None:
                    result = await function(component, *checked(plain))
                else:
                    result = await function(component, **spec.bind(args, named))
                body = pack_value(to_plain(result) if is_structured else result)
            except BaseException as error:
                if figures is not None:
                    figures.note(header.method, began, is_good=False)
                request = RunningCall(name, header)
                self._replies.send_or_drop(request, FrameKind.ERROR, self._errors.of_begun(request, error))
                continue
            if figures is not None:
                figures.note(header.method, began, is_good=True)
            if self._batcher is not None and len(body) <= BATCH_FRAME_MAX:
                answered.append(name)
                bodies.append(body)
            else:
                self._replies.send(RunningCall(name, header), FrameKind.REPLY, body)
        if answered and self._batcher is not None:
            self._batcher.replies(self._replies, header, answered, bodies)
        return refused


def _args_untrusted(body: bytes) -> list[Any] | None:
    """Return the arguments of a request that has no others and no key; None for any other body."""
    try:
        return _plain_untrusted(decode_value_untrusted(body))
    except PeerError:
        return None


def _plain_untrusted(value: Any) -> list[Any] | None:
    """Return the same of a decoded request."""
    if type(value) is list and len(value) == 3 and value[2] is None and value[1] == _NO_NAMES:
        args = value[0]
        if type(args) is list:
            return args
    return None


def _request_untrusted(value: Any) -> tuple[list[Any], dict[str, Any], object]:
    """Return (args, kwargs, key) of a decoded request; a key that is empty for what is none."""
    try:
        return request_untrusted(value)[:3]
    except PeerError:
        return [], {}, ""
