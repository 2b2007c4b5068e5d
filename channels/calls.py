"""Open calls: the asking side of an endpoint, for components and external clients alike. asyncio.

A call ends exactly once: with a result, a typed error from the other side, or an error of our own (deadline,
cancelled, unavailable, outcome unknown). A reply is taken only if its source and correlation match an open call.
Nothing is acknowledged before the recipient's reply. A refusal of the gate ends the call but proves nothing about
execution; so, like an unknown outcome, it is repeated only for calls that carry an idempotency key.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from tlsrt.channels.body import (
    decode_bundle_untrusted,
    decode_count_untrusted,
    decode_error_untrusted,
    decode_value_untrusted,
    encode_request,
    encode_value,
)
from tlsrt.channels.endpoint import Endpoint, Opened
from tlsrt.channels.flow import Credit, Inbox
from tlsrt.channels.frame import (
    BATCH_FRAME_MAX,
    BUNDLE_MAX,
    DEADLINE_MAX_MS,
    FLAG_FINAL,
    FLAG_STREAM,
    FLAG_UPLOAD,
    Header,
    Kind,
    correlation,
    parse_frame_untrusted,
    parse_header_untrusted,
)
from tlsrt.channels.outbox import Outbox
from tlsrt.errors import (
    Busy,
    CallError,
    DeadlineExceeded,
    InvalidArgument,
    OutcomeUnknown,
    PeerError,
    Rejected,
    Stale,
    Unavailable,
    call_error,
)

RENEW_STREAM_S = 60.0  # a consumer renews its stream so often ...
STREAM_LIFE_MS = 180_000  # ... and it ends if that is not heard for so long
AWAY_S = 5.0  # so long a call that was never sent waits for a recipient that is being restarted
PAUSE_S, PAUSE_MAX_S = 0.005, 0.1  # a restarted peer serves again after about the first
UPLOAD_PART_MAX = 128 * 1024
_REFUSALS = frozenset({"rejected", "stale", "busy", "unavailable", "locked"})


class _Open:
    """One open call."""

    __slots__ = ("credit", "deadline", "frame", "future", "inbox", "target")

    def __init__(self, target: str, frame: bytes, deadline: int = 0) -> None:
        self.target = target
        self.frame = frame
        self.deadline = deadline  # BOOTTIME, ms; 0: a stream, which lives as long as it is renewed
        self.future: asyncio.Future[Any] | None = None
        self.inbox: Inbox[Any] | None = None
        self.credit: Credit | None = None

    def fail(self, error: CallError) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)
        if self.inbox is not None:
            self.inbox.fail(error)


class Caller:
    """Makes calls over an endpoint. `send` hands one sealed frame to the channel; `clock` is the host's BOOTTIME, ms.

    While the channel is down, new calls wait unsealed, at most `waiting_max` of them; see `set_up`.
    """

    def __init__(
        self, endpoint: Endpoint, send: Callable[[bytes], None], clock: Callable[[], int], *,
        waiting_max: int = 1024, outbox: Outbox | None = None,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self._send = send
        self._clock = clock
        self._calls: dict[int, _Open] = {}
        self._up = asyncio.Event()
        self._up.set()
        self._waiting = 0
        self._waiting_max = waiting_max
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        endpoint.on_new_mailbox = self._recipient_restarted
        endpoint.on_new_session = self._session_ended
        self._outbox = outbox
        if outbox is not None:
            outbox.on_sealed, outbox.on_unsent = self._sealed, self._unsent

    # -- the channel's state ----------------------------------------------------------------------------------

    def set_up(self, up: bool) -> None:
        """Tell whether the channel can carry frames; calls made meanwhile wait."""
        if up:
            self._up.set()
        else:
            self._up.clear()

    def fail_all(self, error: CallError | None = None, unsent: Sequence[bytes] = ()) -> None:
        """End every call in flight: as unavailable if its frame is among `unsent`, else with the error.

        Unavailable invites to repeat, so what is not sealed leaves the outbox before: the channel may be up again in
        this very turn.
        """
        if self._outbox is not None:
            self._outbox.forget()
        never_written = {id(frame) for frame in unsent}
        for call in list(self._calls.values()):
            if not call.frame or id(call.frame) in never_written:
                call.fail(Unavailable("the channel went down before the request was sent"))
            else:
                call.fail(error or OutcomeUnknown("the channel went down while the request was under way"))

    def end_before(self, epoch: int) -> None:
        """End every call that was sealed in an epoch before this one: it left no grace, so no answer can come."""
        for call in list(self._calls.values()):
            if call.frame and parse_header_untrusted(parse_frame_untrusted(call.frame).header).epoch < epoch:
                call.fail(Stale(f"the epoch ended while a request to {call.target} was under way"))

    def _recipient_restarted(self, target: str) -> None:
        for call in list(self._calls.values()):
            if call.target == target:
                call.fail(OutcomeUnknown(f"{target} was restarted while the request was under way"))

    def _session_ended(self) -> None:
        """End every call of the session before: its answers could not be opened, and its numbers come again."""
        for call in list(self._calls.values()):
            if call.frame:
                call.fail(OutcomeUnknown(f"the session ended while a request to {call.target} was under way"))
            else:
                call.fail(Unavailable("the session ended before the request was sent"))
        self._calls.clear()

    def _close(self, seq: int, call: _Open | None) -> bool:
        """Forget a call; False if its session has ended, for then its number may be another call's."""
        if call is None or self._calls.get(seq) is not call:
            return False
        del self._calls[seq]
        return True

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
        timeout_s: float = 30.0, idempotency_key: str | None = None,
    ) -> Any:  # fmt: skip
        """Call a method and return its result; raises a CallError. `timeout_s` is at most 300 s.

        With an idempotency key the recipient runs it once however often it arrives, so it is repeated here after a
        lost answer, until the deadline. Without one it waits a moment for a recipient that does not run, and fails.
        """
        body = encode_request(args, kwargs or {}, idempotency_key)
        deadline = self._deadline(timeout_s)
        waited_s, pause_s = 0.0, PAUSE_S
        while True:
            if not self._up.is_set():
                await self._wait_until_up(deadline)
            seq, call = 0, None
            try:
                seq, call, future = self._begin(target, method, body, deadline)
                frame = call.frame
                if frame and self._outbox is not None and len(self._calls) == 1:
                    self._outbox.send_now(frame)
                elif frame:
                    self._send(frame)
                return await future
            except asyncio.CancelledError:
                if self._close(seq, call):
                    self._cancel(target, method, seq)
                raise
            except (Unavailable, OutcomeUnknown, Stale, Rejected) as error:
                did_not_run = isinstance(error, Unavailable) and not error.from_gate
                may_repeat = idempotency_key or (did_not_run and waited_s < AWAY_S)
                if not may_repeat or self._clock() + 5 >= deadline:
                    raise
                failed = error
            finally:
                self._close(seq, call)
            await asyncio.sleep(pause_s)
            if self._clock() >= deadline:  # it was a long moment
                raise failed
            waited_s, pause_s = waited_s + pause_s, min(pause_s * 1.5, PAUSE_MAX_S)

    def _begin(self, target: str, method: str, body: bytes, deadline: int) -> tuple[int, _Open, asyncio.Future[Any]]:
        """Open a call. The only one has its frame at once; more of a turn leave together, through the outbox."""
        outbox = self._outbox
        if outbox is None or not self._calls or len(body) > BATCH_FRAME_MAX:
            seq, frame = self.endpoint.seal_request(Kind.REQUEST, target, method, body, deadline)
        else:
            seq, frame = outbox.request(target, method, body, deadline), b""
        call = self._calls[seq] = _Open(target, frame, deadline)
        loop = self._loop or asyncio.get_running_loop()
        self._loop = loop  # asking for it is a system call
        future = call.future = loop.create_future()
        if not self._alarm_at or deadline < self._alarm_at:
            self._set_alarm(deadline)
        return seq, call, future

    def _sealed(self, numbers: range, frame: bytes) -> None:
        for seq in numbers:
            call = self._calls.get(seq)
            if call is not None:
                call.frame = frame

    def _unsent(self, numbers: range, error: CallError) -> None:
        for seq in numbers:
            call = self._calls.get(seq)
            if call is not None:
                call.fail(type(error)(error.message))

    def _set_alarm(self, deadline: int) -> None:
        """Have one timer, at the earliest deadline of all open calls: a timer per call costs more than its call."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        left_s = max(0, deadline - self._clock()) / 1000
        self._alarm = asyncio.get_running_loop().call_later(left_s, self._on_alarm)

    def _on_alarm(self) -> None:
        now = self._clock()
        self._alarm, self._alarm_at = None, 0
        for call in list(self._calls.values()):
            if 0 < call.deadline <= now:
                call.fail(DeadlineExceeded(f"{call.target}: no answer in time"))
        left = [call.deadline for call in self._calls.values() if call.deadline > now]
        if left:
            self._set_alarm(min(left))

    def stream(
        self, target: str, method: str, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None, *,
        timeout_s: float = 30.0,
    ) -> AsyncIterator[Any]:  # fmt: skip
        """Call a streaming method; iterate its items. `timeout_s` bounds the sending of the request only."""
        return self._stream(target, method, encode_request(args, kwargs or {}, None), timeout_s)

    async def _stream(self, target: str, method: str, body: bytes, timeout_s: float) -> AsyncIterator[Any]:
        await self._wait_until_up(self._deadline(timeout_s))
        deadline = self._clock() + STREAM_LIFE_MS
        seq, frame = self.endpoint.seal_request(Kind.REQUEST, target, method, body, deadline, flags=FLAG_STREAM)
        call = self._calls[seq] = _Open(target, frame)
        inbox = call.inbox = Inbox()
        renewal = asyncio.get_running_loop().create_task(self._renew(target, method, seq, call))
        try:
            self._send(frame)
            while True:
                item = await inbox.get()
                due = inbox.credit_due()
                if due and self._calls.get(seq) is call:
                    self._send_credit(target, method, seq, due)
                yield item
        except StopAsyncIteration:
            return
        finally:
            renewal.cancel()
            if self._close(seq, call) and not inbox.ended:
                self._cancel(target, method, seq)

    async def _renew(self, target: str, method: str, seq: int, call: _Open) -> None:
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
        body = encode_request(args, kwargs or {}, None)
        seq, frame = self.endpoint.seal_request(Kind.REQUEST, target, method, body, deadline, flags=FLAG_UPLOAD)
        call = self._calls[seq] = _Open(target, frame, deadline)
        call.credit = Credit()
        loop = asyncio.get_running_loop()
        future = call.future = loop.create_future()
        if not self._alarm_at or deadline < self._alarm_at:
            self._set_alarm(deadline)
        feeding = loop.create_task(self._feed(call, target, method, seq, parts, deadline))
        try:
            self._send(frame)
            await asyncio.wait((future, feeding), return_when=asyncio.FIRST_COMPLETED)
            if not future.done() and feeding.exception() is not None:
                if self._close(seq, call):
                    self._cancel(target, method, seq)
                await feeding
            return await future
        except asyncio.CancelledError:
            if self._close(seq, call):
                self._cancel(target, method, seq)
            raise
        finally:
            feeding.cancel()
            self._close(seq, call)

    async def _feed(
        self, call: _Open, target: str, method: str, seq: int, parts: AsyncIterator[bytes], deadline: int
    ) -> None:
        assert call.credit is not None
        name = correlation(self.endpoint.session, seq)
        number = 0
        async for part in parts:
            if len(part) > UPLOAD_PART_MAX:
                raise InvalidArgument(f"a part of an upload has at most {UPLOAD_PART_MAX} bytes, not {len(part)}")
            await call.credit.take()
            self._send(
                self.endpoint.seal_request(
                    Kind.PART, target, method, encode_value(part), deadline, part=number, correlation=name
                )[1]
            )
            number += 1
        self._send(
            self.endpoint.seal_request(
                Kind.PART, target, method, b"", deadline, part=number, correlation=name, flags=FLAG_FINAL
            )[1]
        )

    def _deadline(self, timeout_s: float) -> int:
        if not 0 < timeout_s <= DEADLINE_MAX_MS / 1000:
            raise InvalidArgument(f"a timeout is more than 0 and at most {DEADLINE_MAX_MS // 1000} s, not {timeout_s}")
        return self._clock() + int(timeout_s * 1000)

    def _send_credit(self, target: str, method: str, seq: int, count: int) -> None:
        self._send_about(Kind.CREDIT, target, method, seq, encode_value(count), self._clock() + STREAM_LIFE_MS)

    def _cancel(self, target: str, method: str, seq: int) -> None:
        self._send_about(Kind.CANCEL, target, method, seq, b"", self._clock() + 10_000)

    def _send_about(self, kind: Kind, target: str, method: str, seq: int, body: bytes, deadline: int) -> None:
        """Send a frame about an open call; if that is impossible the call has ended anyway."""
        try:
            name = correlation(self.endpoint.session, seq)
            self._send(self.endpoint.seal_request(kind, target, method, body, deadline, correlation=name)[1])
        except CallError:
            pass

    # -- answers ----------------------------------------------------------------------------------------------

    def on_frame_untrusted(self, data: bytes) -> None:
        """Take one frame from the channel; raise PeerError if it is not an authentic answer to us."""
        frame = parse_frame_untrusted(data)
        header = parse_header_untrusted(frame.header)
        self.on_opened_untrusted(self.endpoint.open_untrusted(frame, header, self._clock()))

    def on_opened_untrusted(self, opened: Opened) -> None:
        """Take an authentic answer; one to a call that has ended is dropped, a wrong source raises PeerError."""
        header, body, _ = opened
        if header.kind == Kind.REPLIES:
            self._replies_untrusted(header, body)
            return
        if len(header.correlation) != 24:
            raise PeerError("no_correlation")
        seq = int.from_bytes(header.correlation[16:], "big")
        if header.kind == Kind.REFUSAL:
            self._refused(seq, max(1, header.part), body)
            return
        call = self._calls.get(seq)
        if call is None:
            return
        if header.src != call.target:
            raise PeerError("wrong_replier")
        if header.kind == Kind.REPLY and call.future is not None:
            value = decode_value_untrusted(body)
            if not call.future.done():
                call.future.set_result(value)
        elif header.kind == Kind.ERROR:
            call.fail(decode_error_untrusted(body))
        elif header.kind == Kind.ITEM and call.inbox is not None:
            if header.flags & FLAG_FINAL:
                call.inbox.finish(header.part)
            else:
                call.inbox.put(header.part, decode_value_untrusted(body))
        elif header.kind == Kind.ALLOW and call.credit is not None:
            call.credit.add(decode_count_untrusted(body))
        else:
            raise PeerError("wrong_kind")

    def _replies_untrusted(self, header: Header, body: bytes) -> None:
        """Take the replies of a bundle; those to calls that have ended are dropped."""
        values = decode_bundle_untrusted(body, header.part)
        numbers = header.correlation
        for at, value in enumerate(values, 2):
            call = self._calls.get(int.from_bytes(numbers[8 * at : 8 * at + 8], "big"))
            if call is None:
                continue
            if header.src != call.target:
                raise PeerError("wrong_replier")
            if call.future is not None and not call.future.done():
                call.future.set_result(value)

    def _refused(self, last: int, count: int, body: bytes) -> None:
        """The gate has refused a request, or a bundle of `count` requests that ends with the number `last`."""
        word = body.decode("ascii", "replace")
        for seq in range(last - min(count, BUNDLE_MAX) + 1, last + 1):
            call = self._calls.get(seq)
            if call is not None:
                error = call_error(word if word in _REFUSALS else "rejected", _explain(word, call.target))
                error.from_gate = True
                call.fail(error)


def _explain(word: str, target: str) -> str:
    return {
        "busy": "too many open calls in this session",
        "stale": f"{target} has been restarted or the epoch has ended",
        "unavailable": f"{target} is not running",
        "locked": "the server is locked",
    }.get(word, f"the gate refused the message to {target}; the reason is in the host's log")


def new_idempotency_key() -> str:
    """Return a fresh key for one logical call."""
    return os.urandom(16).hex()
