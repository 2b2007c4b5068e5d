"""Responder: runs the handlers of one component; what they give is sent by `replies.py`. asyncio.

Every request is answered once: with a result, the items of a stream, or an error; except when the caller has
cancelled it or its deadline has passed, for then no one waits. What a handler raises is sent to the caller only if
it is a CallError; anything else is folded into "failed" and its traceback goes to this loop's log. That is so for
everything that Python can raise, SystemExit and a CancelledError of the handler's own among it: a handler that calls
sys.exit ends its call and not its loop. A result that cannot be sent is "failed" too. A request with an
idempotency key runs once per subject, method and key: a repetition gets the answer of the first. An answer waits for
room in a full queue; a channel that is down drops it, as the caller has been told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from tlsrt.budget import Budget
from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.calls.flow_control import Inbox
from tlsrt.channels.frames.body import (
    decode_bundle_untrusted,
    decode_count_untrusted,
    decode_error_untrusted,
    decode_request_untrusted,
    decode_value_untrusted,
    encode_error,
    pack_value,
    request_untrusted,
)
from tlsrt.channels.frames.deferral import Deferral
from tlsrt.channels.frames.frame import (
    BATCH_FRAME_MAX,
    FLAG_FINAL,
    FLAG_STREAM,
    FLAG_UPLOAD,
    FrameKind,
    Header,
    correlation,
    names_of,
)
from tlsrt.channels.frames.trace import CURRENT, begin_traced, check_trace_untrusted
from tlsrt.channels.links.channel import FrameSender
from tlsrt.channels.session.endpoint import Endpoint, OpenedFrame
from tlsrt.errors import Away, Busy, InvalidArgument, OutcomeUnknown, PeerError
from tlsrt.loops.component.caller import begin_as, end_as
from tlsrt.loops.component.component import BUILTIN, Component
from tlsrt.loops.component.invocation import find_method, invoke, run_at_once
from tlsrt.loops.component.method import MethodSpec
from tlsrt.loops.dispatch.call_figures import CallFigures, replies_of
from tlsrt.loops.dispatch.deferrals import Deferrals, NoDeferrals, wrong_kind
from tlsrt.loops.dispatch.faults import Faults
from tlsrt.loops.dispatch.held_requests import HeldRequests
from tlsrt.loops.dispatch.idempotency import Answer, digest_of
from tlsrt.loops.dispatch.immediate_calls import ImmediateCalls
from tlsrt.loops.dispatch.in_flight import InFlight, RunningCall
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.dispatch.streams import Streams
from tlsrt.loops.dispatch.told_errors import UNREADABLE, ToldErrors, refusal_of
from tlsrt.loops.dispatch.traced_calls import run_traced
from tlsrt.loops.dispatch.tracer import Tracer

_REQUEST, _REQUESTS = int(FrameKind.REQUEST), int(FrameKind.REQUESTS)
_BINS = frozenset((b"\xc4", b"\xc5", b"\xc6"))  # what a part begins with; others are not decoded


class Responder:
    """Answers requests for one component over one endpoint."""

    def __init__(
        self, component: Component, endpoint: Endpoint, channel: FrameSender, clock: Callable[[], int],
        log: logging.Logger, shares: ProcessorShares, batcher: Batcher | None = None,
        deferrals: Deferrals | None = None, figures: CallFigures | None = None, tracer: Tracer | None = None,
    ) -> None:  # fmt: skip
        self._component = component
        self._endpoint = endpoint
        self._clock = clock
        self._batcher = batcher
        self._deferrals = deferrals or NoDeferrals()
        self._shares = shares
        self._held = HeldRequests()
        self._in_flight = InFlight(clock)
        self._figures = figures
        self._replies = replies_of(figures, endpoint, channel, clock, self._in_flight, batcher)
        self._errors = ToldErrors(shares, Faults(endpoint.subject, log, clock))
        self._streams = Streams(endpoint.subject, shares, self._replies, self._errors, self._in_flight)
        self._tracer = tracer or Tracer()
        self._immediate = ImmediateCalls(
            component, self._replies, self._errors, batcher, figures, self._tracer, self._start
        )
        self._closing = False
        self._is_starting = self._is_unready = self._is_held = False

    def hold(self) -> None:
        """Tell callers to try again: the keys are here, but the component has not started."""
        self._is_starting = self._is_held = True

    def start(self) -> None:
        """Run requests from now on: the component has started."""
        self._is_starting = False
        self._is_held = self._is_unready

    def set_ready(self, is_ready: bool) -> None:
        """Run requests only while the component says that it is ready; `describe` and `subscribe` always."""
        self._is_unready = not is_ready
        self._is_held = self._is_starting or self._is_unready

    def on_opened_untrusted(self, opened: OpenedFrame) -> None:
        """Take an authentic frame of a caller; raise PeerError if it makes no sense."""
        header, body, _ = opened
        if header.kind == _REQUEST or header.kind == _REQUESTS:
            if header.correlation:
                check_trace_untrusted(header)
            begin = self._wait if self._shares.must_wait(header.src) else self._begin
            try:
                begin(header, body)
            finally:
                self._shares.used(header.src)
            return
        request = self._in_flight.by_name.get(header.correlation)
        if request is None:
            self._held.cancel(header)  # or it has just ended; no offence
            if header.kind == FrameKind.CREDIT and not self._held.holds(header.correlation):
                self._tell_over(header)
            return
        if header.correlation[:16] != header.session:
            raise PeerError("foreign_request")
        if header.kind == FrameKind.CANCEL:
            self._in_flight.stop(request)
            self._held.cancel(header)
        elif header.kind == FrameKind.CREDIT and request.credit is not None:
            request.credit.add(decode_count_untrusted(body))
            self._in_flight.set_deadline(request, header.deadline)
        elif header.kind == FrameKind.CREDIT and request.task is None and request.header.flags & FLAG_STREAM:
            decode_count_untrusted(body)  # a renewal of one that waits for its turn: no item of it has been sent
        elif header.kind == FrameKind.PART and request.upload is not None:
            if header.flags & FLAG_FINAL:
                request.upload.finish(header.part)
                return
            part = decode_value_untrusted(body) if body[:1] in _BINS else None
            if type(part) is not bytes:
                raise PeerError("bad_part")
            if not self._in_flight.quotas.take(header.src, 0, len(part)):
                request.upload.fail(Busy(f"{self._endpoint.subject} has no room for more data of {header.src}"))
                return
            request.size += len(part)
            request.upload.put(header.part, part)
        else:
            raise PeerError("wrong_kind")

    def _tell_over(self, credit: Header) -> None:
        """Answer the reader of a stream that does not run here, which has no deadline. The gate drops a late one."""
        if credit.correlation[:16] == credit.session:
            error = OutcomeUnknown(f"this stream of {self._endpoint.subject} is over, and how it ended was lost")
            self._replies.send_or_drop(RunningCall(credit.correlation, credit), FrameKind.ERROR, encode_error(error))

    def _begin(self, header: Header, body: bytes, upload: RunningCall | None = None) -> None:
        """Begin what a frame asks for; raise PeerError if that could not be read, when it has been answered."""
        if CURRENT.get():  # of who opened the channel: no request inherits it
            begin_traced(b"", partial(self._begin, header, body, upload))
            return
        tracer = self._tracer
        if header.kind == _REQUEST:
            is_traced = bool(header.correlation) or (tracer.is_on and tracer.is_due())
            is_plain = not (is_traced or header.flags or self._closing or self._is_held)
            spec = self._immediate.specs.get(header.method) if is_plain else None
            if spec is not None:
                refused = self._immediate.answer(spec, header, body)
            else:
                request = upload or RunningCall(correlation(header.session, header.seq), header)
                start = partial(self._start, request, body)
                refused = run_traced(tracer, request, start) if is_traced else start()
        else:
            refused = self._start_all(header, body)
        if refused is not None:
            raise refused

    def _wait(self, header: Header, body: bytes) -> None:
        """Begin it when its caller has a share of the processor again; it is not read before."""
        count = len(names_of(header))
        if not self._in_flight.quotas.take(header.src, count, len(body)):
            sentence = f"{self._endpoint.subject} has too many requests of {header.src} waiting"
            self._replies.refuse(header, Busy(sentence))
            return
        held = self._held.add(header)
        upload = self._in_flight.hold_upload(header, len(body)) if header.flags & FLAG_UPLOAD else None

        def begin() -> None:
            if upload is None:
                self._in_flight.quotas.give_back(header.src, count, len(body))
            if not self._held.take(held) or header.deadline <= self._clock():
                if upload is not None:
                    self._in_flight.release(upload)
                return
            try:
                self._begin(header, body, upload)
            except PeerError as error:
                self._shares.refused(header.session, error.reason)

        self._shares.wait(header.src, header.session, begin)

    def _start_all(self, header: Header, body: bytes) -> PeerError | None:
        """Answer each request of a bundle for itself. Return why one of them could not be read."""
        names = names_of(header)
        refused: PeerError | None = None
        try:
            values = decode_bundle_untrusted(body, header.part)
        except PeerError as error:
            refused = refusal_of(error)
            values = [None] * header.part  # which no method takes as arguments
        spec = self._immediate.specs.get(header.method)
        if spec is None or self._closing or self._is_held:
            for name, value in zip(names, values, strict=True):
                found = self._start_one(name, header, value)
                refused = refused or found
            return refused
        found = self._immediate.answer_all(spec, header, names, values)
        return refused or found

    def _start_one(self, name: bytes, header: Header, value: Any) -> PeerError | None:
        request = RunningCall(name, header)
        if self._tracer.is_on and self._tracer.is_due():
            return run_traced(self._tracer, request, partial(self._start, request, value))
        return self._start(request, value)

    def _start(self, request: RunningCall, body: Any) -> PeerError | None:
        """Answer a request. Its body is sealed bytes that were opened or, out of a bundle, what they decoded to.

        Return why it could not be read.
        """
        header = request.header
        refused: PeerError | None = None
        if self._figures is not None:
            request.began = self._figures.clock()
        try:
            if self._closing or self._is_held:
                self.check_serves(header.method)
            try:
                args, kwargs, key, tried = (
                    decode_request_untrusted(body) if header.kind == FrameKind.REQUEST else request_untrusted(body)
                )
            except PeerError as error:
                refused = refusal_of(error)
                raise InvalidArgument(UNREADABLE) from error
            spec = find_method(self._component, header.method)
            if spec.stream != bool(header.flags & FLAG_STREAM):
                raise wrong_kind(header.method, is_stream=spec.stream, is_put_off=isinstance(key, Deferral))
            if header.flags & FLAG_UPLOAD and request.upload is None:
                request.upload = Inbox()
            upload = self._streams.parts(request) if request.upload is not None else None
            if spec.immediate and key is None and upload is None:
                self._answer_at_once(request, spec, args, kwargs)
                return None
            if request.size < 0:
                size = len(body) if header.kind == FrameKind.REQUEST else BATCH_FRAME_MAX
                if not self._in_flight.quotas.take(header.src, 1, size):
                    raise Busy(f"{self._endpoint.subject} has too many requests of {header.src} in flight")
                request.size = size
            if spec.stream and not self._in_flight.open_stream(request):
                self._shares.over(header.session, Budget.STREAMS)
                raise Busy(f"{self._endpoint.subject} has too many open streams of {header.src}: end one of them")
            known, work = None, cast("Any", None)
            if isinstance(key, Deferral):
                work = self._deferrals.answer(header, key)
            elif key is not None:
                known = self._in_flight.remembered(request, spec, key, tried, digest_of(args, kwargs))
                work = asyncio.shield(known) if known is not None else None
            if work is None:
                work = invoke(self._component, header.method, args, kwargs, subject=header.src, upload=upload)
        except BaseException as error:  # the check of a dataclass is code of the component, too
            self._in_flight.release(request)
            self._replies.send_or_drop(request, FrameKind.ERROR, self._errors.of(request, error))
            return refused
        if spec.stream:
            run = self._streams.run(request, work)
        elif known is not None:
            run = self._run_known(request, work)
        else:
            run = self._run_call(request, work)
        self._in_flight.spawn(request, run, work)
        return None

    def _away(self) -> Away:
        if self._closing or self._is_starting:
            return Away(f"{self._endpoint.subject} is {'stopping' if self._closing else 'starting'}")
        return Away(f"{self._endpoint.subject} is not ready: try again")

    def check_serves(self, method: str) -> None:
        """Raise Away if a call of this method would not run now."""
        if (self._closing or self._is_held) and (self._closing or self._is_starting or method not in BUILTIN):
            raise self._away()

    def _answer_at_once(
        self, request: RunningCall, spec: MethodSpec, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Run a handler that awaits nothing and answer. Raise the CallError that it or its arguments gave."""
        token = begin_as(request.header.src)
        try:
            kind, body = FrameKind.REPLY, pack_value(run_at_once(self._component, spec, args, kwargs))
        except BaseException as error:
            kind, body = FrameKind.ERROR, self._errors.of_begun(request, error)
        finally:
            end_as(token)
        if not self._replies.add_to_bundle(request, kind, body):
            self._replies.send(request, kind, body)

    # -- running ----------------------------------------------------------------------------------------------

    async def _run_call(self, request: RunningCall, work: Any) -> None:
        kind, body = await self._result(request, work)
        if request.key is not None:
            self._in_flight.answers.keep(request.key, (kind, body))
        await self._replies.send_in_time(request, kind, body)

    async def _run_known(self, request: RunningCall, answer: Awaitable[Answer]) -> None:
        try:
            kind, body = await answer
        except asyncio.CancelledError:
            if request.is_stopped:
                raise
            error = OutcomeUnknown("the first call with this key was cancelled")
            kind, body = FrameKind.ERROR, self._errors.of(request, error)
        else:
            if kind == FrameKind.ERROR:
                request.fault = decode_error_untrusted(body).code
        await self._replies.send_in_time(request, kind, body)

    async def _result(self, request: RunningCall, work: Any) -> Answer:
        src, session = request.header.src, request.header.session
        try:
            if self._shares.must_wait(src):
                await self._shares.turn(src, session, is_first=True)
            return FrameKind.REPLY, pack_value(await self._shares.metered(src, session, work))
        except BaseException as error:
            if request.is_stopped and isinstance(error, asyncio.CancelledError):
                raise
            return FrameKind.ERROR, self._errors.of_begun(request, error)

    # -- ending -----------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """How many requests are in flight."""
        return len(self._in_flight.by_name)

    def end_calls(self, ending: Ending) -> None:
        """Cancel what runs for those who are gone. No answer is sent: the gate has no open call for it any more."""
        self._held.end(ending)
        self._in_flight.end(ending)

    def answer_unremembered(self, header: Header) -> None:
        """Answer the requests of an authentic frame whose number could not be remembered.

        Nothing ran, but that may not be told as certain: what carries the frame could deliver it again when there
        is room, and it would run then.
        """
        sentence = (
            f"cannot take a call: {self._endpoint.subject} remembers too many sessions of {header.src}, so that this "
            "one may still run later; use fewer sessions, and ask again in a minute if it may run twice"
        )
        self._replies.refuse(header, OutcomeUnknown(sentence))

    async def close(self, timeout_s: float) -> None:
        """Take no more requests, end streams with an error, let calls finish for so long, then cancel them."""
        self._closing = True
        self._streams.stop()
        for header in self._held.clear():
            self._replies.refuse(header, self._away())
        await self._in_flight.finish(timeout_s)
