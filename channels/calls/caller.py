"""Caller: the requesting side of an endpoint, for components and external clients alike. asyncio.

How calls end is in `pending_calls.py`, and which of them are sealed again in `retry.py`. Nothing is acknowledged
before the recipient's reply.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.calls.denied_probes import DeniedProbes
from tlsrt.channels.calls.flow_control import Credit
from tlsrt.channels.calls.pending_call import AwaitedCall, PendingCall
from tlsrt.channels.calls.pending_calls import PendingCalls
from tlsrt.channels.calls.retry import FirstUse, Retry
from tlsrt.channels.frames.body import encode_request, encode_value
from tlsrt.channels.frames.frame import (
    BATCH_FRAME_MAX,
    DEADLINE_MAX_MS,
    FLAG_FINAL,
    FLAG_STREAM,
    FLAG_UPLOAD,
    FrameKind,
    correlation,
)
from tlsrt.channels.frames.trace import CURRENT
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.errors import Busy, CallError, InvalidArgument, StreamBroken, Unavailable

RENEW_STREAM_S = 60.0  # a consumer renews its stream so often ...
STREAM_LIFE_MS = 180_000  # ... and it ends if that is not heard for so long
LAST_MS = 50  # before its deadline no call is repeated: the gate would find it late, and say less than is known here
UPLOAD_PART_MAX = 128 * 1024
DEADLINE_MAX_S = DEADLINE_MAX_MS / 1000
CALLS_MAX = 1024  # open at a time; more would be refused by most gates, at a cost for all callers
TOO_MANY = f"{CALLS_MAX} calls are in flight already; the request was not sent"


class Caller:
    """Makes calls over an endpoint. `send` hands one sealed frame to the channel; `clock` is the host's BOOTTIME, ms.

    While the channel is down, new calls wait unsealed, at most `waiting_max` of them; see `set_up`.
    """

    def __init__(
        self, endpoint: Endpoint, send: Callable[[bytes], None], clock: Callable[[], int], *,
        waiting_max: int = 1024, batcher: Batcher | None = None,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.pending = PendingCalls(endpoint, clock, batcher)
        self._calls = self.pending.by_number
        self._send = send
        self._clock = clock
        self._batcher = batcher
        self._host = 0  # how many hosts it has known: incarnations of recipients belong to one
        self._up = asyncio.Event()
        self._up.set()
        self._is_up = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0
        self._waiting_max = waiting_max
        self.probes = DeniedProbes(endpoint, send, clock, self._up.is_set)
        endpoint.set_observer(self)

    def on_recipient_restarted(self, target: str) -> None:
        """End the calls to a recipient that was restarted."""
        self.pending.on_recipient_restarted(target)

    def on_session_ended(self) -> None:
        """End the calls of a session that has ended."""
        self.pending.on_session_ended()

    def on_denied(self, target: str) -> None:
        """Show the gate a call that this session has no right to."""
        self.probes.show(target, "describe")

    def set_new_host(self) -> None:
        """Take note that another host answers: its recipients count their incarnations from one again."""
        self._host += 1

    def set_up(self, up: bool) -> None:
        """Tell whether the channel can carry frames; calls made meanwhile wait."""
        self._is_up = up
        if up:
            self._up.set()
        else:
            self._up.clear()

    async def _wait_until_up(self, deadline: int) -> None:
        if self._up.is_set():
            return
        if self._waiting >= self._waiting_max:
            raise Busy("the channel is down and its queue is full")
        self._waiting += 1
        try:
            async with asyncio.timeout(max(0, deadline - self._clock()) / 1000):
                await self._up.wait()
        except TimeoutError as error:
            raise Unavailable("the channel stayed down until the deadline; the request was not sent") from error
        finally:
            self._waiting -= 1

    # -- calls ------------------------------------------------------------------------------------------------

    async def call(
        self, target: str, method: str, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None, *,
        timeout_s: float = 30.0, idempotency_key: str | None = None, first_use: FirstUse | None = None,
        wait_s: float | None = None, deferral: tuple[object, ...] | None = None,
    ) -> Any:  # fmt: skip
        """Call a method and return its result; raises a CallError. `timeout_s` is at most 300 s.

        With an idempotency key the recipient runs it once however often it arrives, so it is repeated here after a
        lost answer, until the deadline. Without one it waits a moment for a recipient that does not run, and fails.
        `wait_s` says how long to wait for one that is away, and for room here, as it has surely not run then.
        A `deferral` asks about jobs in its place.
        """
        body = encode_request(args, kwargs or {}, deferral or idempotency_key)
        if not 0 < timeout_s <= DEADLINE_MAX_S:
            raise _no_timeout(timeout_s)
        deadline = self._clock() + int(timeout_s * 1000)
        retry = None if first_use is None else Retry(idempotency_key, first_use)  # most calls need none
        while True:
            call, host = None, self._host
            try:
                if not self._is_up:
                    await self._wait_until_up(deadline)
                    host = self._host  # the channel may have come up to another host
                if retry is not None:
                    body = encode_request(args, kwargs or {}, deferral or retry.key(host))
                call = self._begin(target, method, body, deadline)
                if call.frame:
                    if self._batcher is not None and len(self._calls) == 1:
                        self._batcher.send_now(call.frame)
                    else:
                        self._send(call.frame)
                        if first_use is not None and retry is not None:
                            retry.sent(call.frame)
                return await call  # which its answer has closed
            except CallError as error:
                self.pending.close(call)
                failed = error
                retry = retry or Retry(idempotency_key, wait_s=wait_s)
                may_follow = retry.may_follow(error, call.frame if call is not None else b"", host)
                if not may_follow or self._clock() + LAST_MS >= deadline:
                    raise retry.verdict(error) from None
            except BaseException as error:
                if self.pending.close(call) and isinstance(error, asyncio.CancelledError) and call is not None:
                    self._cancel(target, method, call.seq)
                raise
            await asyncio.sleep(retry.pause_s)
            if self._clock() + LAST_MS >= deadline:  # it was a long moment
                raise retry.verdict(failed)
            retry.wait()

    def _begin(self, target: str, method: str, body: bytes, deadline: int) -> AwaitedCall:
        """Open a call. The only one has its frame at once; more of a turn leave together, through the batcher."""
        if len(self._calls) >= CALLS_MAX:
            raise Busy(TOO_MANY)
        batcher, trace, pending = self._batcher, CURRENT.get(), self.pending
        loop = self._loop
        if loop is None:
            loop = self._loop = pending.loop
        call = AwaitedCall(loop, target, deadline)
        is_alone = not self._calls and not pending.has_company
        if is_alone or batcher is None or trace or len(body) > BATCH_FRAME_MAX:
            call.seq, call.frame = self.endpoint.seal_request(
                FrameKind.REQUEST, target, method, body, deadline, correlation=trace
            )
        else:
            batcher.request(call, target, method, body, deadline)
        pending.add_awaited(call)
        return call

    # -- streams -----------------------------------------------------------------------------------------------

    def stream(
        self, target: str, method: str, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None, *,
        timeout_s: float = 30.0,
    ) -> AsyncIterator[Any]:  # fmt: skip
        """Call a streaming method; iterate its items. `timeout_s` bounds the sending of the request only."""
        return self._stream(target, method, encode_request(args, kwargs or {}, None), timeout_s, None)

    def exchange(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None, *, timeout_s: float = 30.0,
    ) -> AsyncIterator[Any]:  # fmt: skip
        """Call a method that takes a stream of bytes and answers with a stream; iterate its items.

        Parts have at most 128 KiB and are sent while items arrive. An exception of `parts` cancels the call and is
        raised here. `timeout_s` bounds the sending of the request only.
        """
        return self._stream(target, method, encode_request(args, kwargs or {}, None), timeout_s, parts)

    async def _stream(
        self, target: str, method: str, body: bytes, timeout_s: float, parts: AsyncIterator[bytes] | None
    ) -> AsyncIterator[Any]:
        await self._wait_until_up(self._deadline(timeout_s))
        if len(self._calls) >= CALLS_MAX:
            raise Busy(TOO_MANY)
        deadline = self._clock() + STREAM_LIFE_MS
        flags = FLAG_STREAM if parts is None else FLAG_STREAM | FLAG_UPLOAD
        seq, frame = self.endpoint.seal_request(
            FrameKind.REQUEST, target, method, body, deadline, flags=flags, correlation=CURRENT.get()
        )
        call = self.pending.add_stream(seq, target, frame)
        inbox = call.inbox
        assert inbox is not None
        create_task = asyncio.get_running_loop().create_task
        renewal, feeding = create_task(self._renew(target, method, seq, call)), None
        try:
            self._send(frame)
            if parts is not None:
                call.credit = Credit()
                feeding = create_task(self._feed(call, target, method, seq, parts, None))
                feeding.add_done_callback(lambda feeding: _end_if_failed(call, feeding))
            while True:
                item = await inbox.get()
                due = inbox.credit_due()
                if due and self._calls.get(seq) is call:
                    self._send_credit(target, method, seq, due)
                yield item
        except StopAsyncIteration:
            return
        except StreamBroken:
            if feeding is not None and feeding.done() and not feeding.cancelled():
                await feeding  # raises what the source of the parts did
            raise
        finally:
            renewal.cancel()
            if feeding is not None:
                feeding.cancel()
            if self.pending.remove(seq, call) and (not inbox.ended or inbox.is_broken):
                self._cancel(target, method, seq)

    async def _renew(self, target: str, method: str, seq: int, call: PendingCall) -> None:
        while True:
            await asyncio.sleep(RENEW_STREAM_S)
            if self._calls.get(seq) is not call:
                return
            self._send_credit(target, method, seq, 0)

    async def upload(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None, *, timeout_s: float = 300.0,
    ) -> Any:  # fmt: skip
        """Call a method that takes a stream of bytes; parts of at most 128 KiB each."""
        deadline = self._deadline(timeout_s)
        await self._wait_until_up(deadline)
        if len(self._calls) >= CALLS_MAX:
            raise Busy(TOO_MANY)
        body = encode_request(args, kwargs or {}, None)
        seq, frame = self.endpoint.seal_request(
            FrameKind.REQUEST, target, method, body, deadline, flags=FLAG_UPLOAD, correlation=CURRENT.get()
        )
        future = self.pending.add(seq, target, frame, deadline)
        call = self._calls[seq]
        call.credit = Credit()
        feeding = asyncio.get_running_loop().create_task(self._feed(call, target, method, seq, parts, deadline))
        try:
            self._send(frame)
            await asyncio.wait((future, feeding), return_when=asyncio.FIRST_COMPLETED)
            if not future.done() and feeding.exception() is not None:
                if self.pending.remove(seq, call):
                    self._cancel(target, method, seq)
                await feeding
            return await future
        except asyncio.CancelledError:
            if self.pending.remove(seq, call):
                self._cancel(target, method, seq)
            raise
        finally:
            feeding.cancel()
            self.pending.remove(seq, call)

    async def _feed(
        self, call: PendingCall, target: str, method: str, seq: int, parts: AsyncIterator[bytes], until: int | None
    ) -> None:
        """Send the parts of an upload; each has the deadline `until`, or that of a stream which is renewed."""
        assert call.credit is not None
        name = correlation(self.endpoint.session, seq)
        number = 0
        async for part in parts:
            if len(part) > UPLOAD_PART_MAX:
                raise InvalidArgument(f"a part of an upload has at most {UPLOAD_PART_MAX} bytes, not {len(part)}")
            await call.credit.take()
            deadline = until or self._clock() + STREAM_LIFE_MS
            self._send(
                self.endpoint.seal_request(
                    FrameKind.PART, target, method, encode_value(part), deadline, part=number, correlation=name
                )[1]
            )
            number += 1
        deadline = until or self._clock() + STREAM_LIFE_MS
        self._send(
            self.endpoint.seal_request(
                FrameKind.PART, target, method, b"", deadline, part=number, correlation=name, flags=FLAG_FINAL
            )[1]
        )

    def _deadline(self, timeout_s: float) -> int:
        if not 0 < timeout_s <= DEADLINE_MAX_S:
            raise _no_timeout(timeout_s)
        return self._clock() + int(timeout_s * 1000)

    def _send_credit(self, target: str, method: str, seq: int, count: int) -> None:
        self._send_about(FrameKind.CREDIT, target, method, seq, encode_value(count), self._clock() + STREAM_LIFE_MS)

    def _cancel(self, target: str, method: str, seq: int) -> None:
        self._send_about(FrameKind.CANCEL, target, method, seq, b"", self._clock() + 10_000)

    def _send_about(self, kind: FrameKind, target: str, method: str, seq: int, body: bytes, deadline: int) -> None:
        """Send a frame about an open call; if that is impossible the call has ended anyway."""
        try:
            name = correlation(self.endpoint.session, seq)
            self._send(self.endpoint.seal_request(kind, target, method, body, deadline, correlation=name)[1])
        except CallError:
            pass


def _no_timeout(timeout_s: float) -> InvalidArgument:
    return InvalidArgument(f"a timeout is more than 0 and at most {DEADLINE_MAX_S:.0f} s, not {timeout_s}")


def _end_if_failed(call: PendingCall, feeding: asyncio.Task[None]) -> None:
    """End a call whose upload could not go on."""
    if not feeding.cancelled() and feeding.exception() is not None:
        call.fail(StreamBroken("what was to be sent could not be read"))


def new_idempotency_key() -> str:
    """Return a fresh key for one logical call."""
    return os.urandom(16).hex()
