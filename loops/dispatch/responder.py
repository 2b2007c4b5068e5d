"""The answering side of one component: runs its handlers and seals what they give. asyncio.

Every request is answered once: with a result, the items of a stream, or an error; except when the asker has
cancelled it or its deadline has passed, for then nobody listens. What a handler raises is told to the asker only if
it is a CallError; anything else is folded into "failed" and its traceback goes to this loop's log. A request with an
idempotency key runs once per subject, method and key: a repetition gets the answer of the first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.calls.flow_control import WINDOW, Credit, Inbox
from tlsrt.channels.frames.body import (
    decode_bundle_untrusted,
    decode_count_untrusted,
    decode_request_untrusted,
    decode_value_untrusted,
    encode_error,
    encode_value,
    request_untrusted,
)
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
from tlsrt.channels.session.endpoint import Endpoint, OpenedFrame
from tlsrt.errors import (
    Away,
    Busy,
    CallError,
    Cancelled,
    Failed,
    InvalidArgument,
    OutcomeUnknown,
    PeerError,
)
from tlsrt.loops.component.component import Component, begin_as, end_as, find_method, invoke, run_at_once
from tlsrt.loops.component.method import MethodSpec
from tlsrt.loops.dispatch.idempotency import Answer
from tlsrt.loops.dispatch.in_flight import InFlight, RunningCall


class Responder(InFlight):
    """Answers requests for one component over one endpoint."""

    def __init__(
        self, component: Component, endpoint: Endpoint, send: Callable[[bytes], None], clock: Callable[[], int],
        log: logging.Logger, outbox: Batcher | None = None,
    ) -> None:  # fmt: skip
        super().__init__(endpoint, send, clock, outbox)
        self._component = component
        self._log = log
        self._closing = False
        self.is_starting = False  # its keys are here, but its component has not started: whoever asks asks again

    def on_opened_untrusted(self, opened: OpenedFrame) -> None:
        """Take an authentic frame of an asker; raise PeerError if it makes no sense."""
        header, body, _ = opened
        if header.kind == FrameKind.REQUEST:
            self._start(RunningCall(correlation(header.session, header.seq), header), body)
            return
        if header.kind == FrameKind.REQUESTS:
            self._start_all(header, body)
            return
        request = self._running.get(header.correlation)
        if request is None:
            return  # it has just ended; no offence
        if header.correlation[:16] != header.session:
            raise PeerError("foreign_request")
        if header.kind == FrameKind.CANCEL:
            self._stop(request)
        elif header.kind == FrameKind.CREDIT and request.credit is not None:
            request.credit.add(decode_count_untrusted(body))
            self._set_deadline(request, header.deadline)
        elif header.kind == FrameKind.PART and request.upload is not None:
            if header.flags & FLAG_FINAL:
                request.upload.finish(header.part)
                return
            part = decode_value_untrusted(body)
            if type(part) is not bytes:
                raise PeerError("bad_part")
            if not self._shares.take(header.src, 0, len(part)):
                request.upload.fail(Busy(f"{self._endpoint.subject} has no room for more data of {header.src}"))
                return
            request.size += len(part)
            request.upload.put(header.part, part)
        else:
            raise PeerError("wrong_kind")

    def _start_all(self, header: Header, body: bytes) -> None:
        """Answer each request of a bundle for itself."""
        names = names_of(header)
        try:
            values = decode_bundle_untrusted(body, header.part)
        except PeerError:
            values = [None] * header.part  # which is nobody's arguments
        spec = self._component.__tlsrt_methods__.get(header.method)
        if spec is None or not spec.immediate or self._outbox is None or self._closing or self.is_starting:
            for name, value in zip(names, values, strict=True):
                self._start(RunningCall(name, header), value)
            return
        token = begin_as(header.src)
        try:
            for name, value in zip(names, values, strict=True):
                self._start_at_once(spec, name, header, value)
        finally:
            end_as(token)

    def _start_at_once(self, spec: MethodSpec, name: bytes, header: Header, value: Any) -> None:
        """Answer one request of a bundle to a handler that awaits nothing."""
        try:
            args, kwargs, key, _ = request_untrusted(value)
        except PeerError:
            key = ""
        if key is not None:
            self._start(RunningCall(name, header), value)
            return
        try:
            body = encode_value(run_at_once(self._component, spec, args, kwargs))
        except Exception as error:
            self._answer_now(RunningCall(name, header), FrameKind.ERROR, self._error(header, error))
            return
        if self._outbox is not None and len(body) <= BATCH_FRAME_MAX:
            self._outbox.reply(header, name, body)
        else:
            self._send_reply(RunningCall(name, header), FrameKind.REPLY, body)

    def _start(self, request: RunningCall, body: Any) -> None:
        """Answer a request; its body is sealed bytes that were opened or, out of a bundle, what they decoded to."""
        header = request.header
        try:
            if self._closing or self.is_starting:
                raise Away(f"{self._endpoint.subject} is {'stopping' if self._closing else 'starting'}")
            try:
                args, kwargs, key, tried = (
                    decode_request_untrusted(body) if header.kind == FrameKind.REQUEST else request_untrusted(body)
                )
            except PeerError as error:
                raise InvalidArgument("cannot read the arguments") from error
            spec = find_method(self._component, header.method)
            if spec.stream != bool(header.flags & FLAG_STREAM):
                raise InvalidArgument(
                    f"{header.method} is a stream of items: iterate it" if spec.stream
                    else f"{header.method} is not a stream: call it"
                )  # fmt: skip
            if header.flags & FLAG_UPLOAD:
                request.upload = Inbox()
            upload = self._parts(request) if request.upload is not None else None
            if spec.immediate and key is None and upload is None:
                self._answer_at_once(request, spec, args, kwargs)
                return
            size = len(body) if header.kind == FrameKind.REQUEST else BATCH_FRAME_MAX
            if not self._shares.take(header.src, 1, size):
                raise Busy(f"{self._endpoint.subject} has too many requests of {header.src} under way")
            request.size = size
            known = self._remembered(request, spec, key, tried) if key is not None else None
            work: Any = (
                asyncio.shield(known) if known is not None
                else invoke(self._component, header.method, args, kwargs, subject=header.src, upload=upload)
            )  # fmt: skip
        except CallError as error:
            self._leave(request)
            self._answer_now(request, FrameKind.ERROR, encode_error(error))
            return
        if spec.stream:
            request.credit = Credit(WINDOW)
            run = self._run_stream(request, work)
        elif known is not None:
            run = self._run_known(request, work)
        else:
            run = self._run_call(request, work)
        self._spawn(request, run, work)

    def _answer_at_once(
        self, request: RunningCall, spec: MethodSpec, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Run a handler that awaits nothing and answer; raise the CallError that it or its arguments gave."""
        token = begin_as(request.header.src)
        try:
            kind, body = FrameKind.REPLY, encode_value(run_at_once(self._component, spec, args, kwargs))
        except Exception as error:
            kind, body = FrameKind.ERROR, self._error(request.header, error)
        finally:
            end_as(token)
        if not self._bundled(request, kind, body):
            self._send_reply(request, kind, body)

    def _error(self, header: Header, error: Exception) -> bytes:
        """Return what an asker is told; a handler's bug must not reach it, nor end the loop."""
        return encode_error(error if isinstance(error, CallError) else self._fold(header, error))

    # -- running ----------------------------------------------------------------------------------------------

    async def _run_call(self, request: RunningCall, work: Any) -> None:
        kind, body = await self._result(request, work)
        if request.key is not None:
            self._answers.keep(request.key, (kind, body))
        await self._answer(request, kind, body)

    async def _run_known(self, request: RunningCall, answer: Awaitable[Answer]) -> None:
        kind, body = await answer
        await self._answer(request, kind, body)

    def _remembered(
        self, request: RunningCall, spec: MethodSpec, idempotency_key: str, tried: int | None
    ) -> asyncio.Future[Answer] | None:
        """Return the answer of a key that has come before; else have repetitions wait for this one's.

        Raise OutcomeUnknown for a key that our predecessor may have run, unless the method may run twice.
        """
        header = request.header
        key = header.src, header.method, idempotency_key
        known = self._answers.known(key, header.deadline)
        if known is not None or spec.stream:
            return known
        if tried is not None and tried != header.mailbox and not spec.idempotent:
            raise OutcomeUnknown(f"{self._endpoint.subject} was started anew and does not know whether it ran before")
        self._answers.promise(key, header.deadline)
        request.key = key
        return None

    async def _result(self, request: RunningCall, work: Any) -> Answer:
        try:
            return FrameKind.REPLY, encode_value(await work)
        except Exception as error:
            return FrameKind.ERROR, self._error(request.header, error)

    async def _run_stream(self, request: RunningCall, items: Any) -> None:
        assert request.credit is not None
        part = 0
        try:
            async for item in items:
                await request.credit.take()
                await self._answer(request, FrameKind.ITEM, encode_value(item), part=part)
                part += 1
            await self._answer(request, FrameKind.ITEM, b"", part=part, flags=FLAG_FINAL)
        except CallError as error:
            await self._answer(request, FrameKind.ERROR, encode_error(error))
        except asyncio.CancelledError:
            if self._closing:
                self._answer_now(
                    request, FrameKind.ERROR, encode_error(Cancelled(f"{self._endpoint.subject} is stopping"))
                )
            raise
        except Exception as error:
            await self._answer(request, FrameKind.ERROR, encode_error(self._fold(request.header, error)))
        finally:
            await items.aclose()

    def _fold(self, header: Header, error: Exception) -> Failed:
        self._log.error("%s %s failed", self._endpoint.subject, header.method, exc_info=error)
        return Failed(f"{self._endpoint.subject} {header.method} failed; the reason is in its log")

    async def _parts(self, request: RunningCall) -> AsyncIterator[bytes]:
        """The upload of a request, giving credit as it is consumed."""
        assert request.upload is not None
        while True:
            try:
                part = await request.upload.get()
            except StopAsyncIteration:
                return
            if request.size >= 0:
                self._shares.give_back(request.header.src, 0, len(part))
                request.size -= len(part)
            due = request.upload.credit_due()
            if due:
                await self._answer(request, FrameKind.ALLOW, encode_value(due))
            yield part

    # -- ending -----------------------------------------------------------------------------------------------

    def cancel_streams(self) -> None:
        """Stop all streams: their consumers have gone with the channel."""
        for request in list(self._running.values()):
            if request.credit is not None:
                self._stop(request)

    async def close(self, timeout_s: float) -> None:
        """Take no more requests, end streams with an error, let calls finish for so long, then cancel them."""
        self._closing = True
        self.cancel_streams()
        tasks = [request.task for request in self._running.values() if request.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
