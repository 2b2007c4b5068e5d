"""Conversation: calls between a test and a component, as messages that both ends understand. asyncio.

Theory of operation. An end makes calls and answers those of the other end, over anything that carries messages in
order: a queue in this process, or a pair of sockets to a sealed one. Bodies are those of the wire (frames/body.py),
with its bounds; streams and uploads flow as far as their credit goes, as they do on a host. What is left out is what
lies between two processes of a host: keys, policy, budgets and the gate.

A message is a list `[kind, number, ...]`. Numbers are of the end that makes the call; each kind is said by one side of
a call only, so both ends may count from one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from tlsrt.channels.calls.flow_control import Credit, Inbox
from tlsrt.channels.frames.body import (
    decode_error_untrusted,
    decode_request_untrusted,
    decode_value_untrusted,
    encode_error,
    encode_request,
    pack_value,
)
from tlsrt.errors import CallError, DeadlineExceeded, InvalidArgument, StreamBroken, Unavailable

UPLOAD_PART_MAX = 128 * 1024
Message = list[Any]


class Kind(IntEnum):
    """What a message says; the first five are of the end that makes the call."""

    REQUEST = 0  # target, method, caller, flags, body
    PART = 1  # number of the part, bytes
    PARTS_END = 2  # how many there were
    CREDIT = 3  # how many more items
    CANCEL = 4
    REPLY = 5  # body
    ERROR = 6  # body
    ITEM = 7  # number of the item, body
    ITEMS_END = 8  # how many there were
    ALLOW = 9  # how many more parts


STREAM, UPLOAD = 1, 2  # flags of a request


@dataclass(frozen=True, slots=True)
class Request:
    """A call as it reaches whom it is for."""

    target: str
    method: str
    caller: str
    args: list[Any]
    kwargs: dict[str, Any]
    is_stream: bool
    parts: AsyncIterator[bytes] | None


class Answering(Protocol):
    """What answers the calls of the other end."""

    def begin(self, request: Request) -> Awaitable[object] | AsyncIterator[object]:
        """Return what to await or, for a stream, what to iterate. Raises CallErrors."""
        ...

    def fold(self, request: Request | None, error: BaseException) -> CallError:
        """Return what the caller is told of an exception."""
        ...


class Carrier(Protocol):
    """Takes messages to the other end, in order. `cause` is the exception behind an ERROR, where it can be had."""

    def send(self, message: Message, cause: BaseException | None = None) -> None: ...


@dataclass(slots=True)
class _Call:
    """A call that this end has made."""

    future: asyncio.Future[Any] | None = None
    inbox: Inbox[Any] | None = None
    credit: Credit | None = None

    def fail(self, error: CallError) -> None:
        if self.inbox is not None:
            self.inbox.fail(error)
        elif self.future is not None and not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True)
class _Answer:
    """A call that this end answers."""

    task: asyncio.Task[None] | None = None
    credit: Credit = field(default_factory=Credit)
    upload: Inbox[bytes] | None = None
    is_stopped: bool = False

    def stop(self) -> None:
        self.is_stopped = True
        if self.task is not None:
            self.task.cancel()


class Conversation:
    """One end of it."""

    def __init__(self, carrier: Carrier, answering: Answering) -> None:
        self._carrier = carrier
        self._answering = answering
        self._made: dict[int, _Call] = {}
        self._answered: dict[int, _Answer] = {}
        self._last = 0
        self._lost: CallError | None = None

    # -- calls of this end ------------------------------------------------------------------------------------

    async def call(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, caller: str,
        timeout_s: float, idempotency_key: str | None = None, parts: AsyncIterator[bytes] | None = None,
    ) -> Any:  # fmt: skip
        """Make a call and return its result; raises what the other end says."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = _Call(future=future, credit=Credit() if parts is not None else None)
        body = encode_request(args, kwargs, idempotency_key)
        number = self._open(call, target, method, caller, UPLOAD if parts is not None else 0, body)
        feeding = self._spawn(self._feed(number, call, parts)) if parts is not None else None
        try:
            async with asyncio.timeout(timeout_s):
                waiting = {future} if feeding is None else {future, feeding}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if feeding is not None and not future.done():
                    await feeding  # raises what the source of the parts did
                return await future
        except TimeoutError as error:
            if future.done() and not future.cancelled():
                raise
            raise DeadlineExceeded(f"{target} {method} did not answer within {timeout_s} s") from error
        finally:
            if feeding is not None:
                feeding.cancel()
            self._close(number, is_over=future.done() and not future.cancelled())

    def stream(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, caller: str,
        parts: AsyncIterator[bytes] | None = None,
    ) -> ItemStream:  # fmt: skip
        """Begin a stream now, and return its items."""
        call = _Call(inbox=Inbox(), credit=Credit() if parts is not None else None)
        flags = STREAM | (UPLOAD if parts is not None else 0)
        number = self._open(call, target, method, caller, flags, encode_request(args, kwargs, None))
        feeding = None
        if parts is not None:
            feeding = self._spawn(self._feed(number, call, parts))
            feeding.add_done_callback(lambda done: _end_if_failed(call, done))
        return ItemStream(self, number, call, feeding)

    def _open(self, call: _Call, target: str, method: str, caller: str, flags: int, body: bytes) -> int:
        if self._lost is not None:
            raise self._lost
        self._last += 1
        self._made[self._last] = call
        self._carrier.send([int(Kind.REQUEST), self._last, target, method, caller, flags, body])
        return self._last

    def _close(self, number: int, *, is_over: bool) -> None:
        if self._made.pop(number, None) is not None and not is_over and self._lost is None:
            self._carrier.send([int(Kind.CANCEL), number])

    async def _feed(self, number: int, call: _Call, parts: AsyncIterator[bytes]) -> None:
        assert call.credit is not None
        count = 0
        async for part in parts:
            if len(part) > UPLOAD_PART_MAX:
                raise InvalidArgument(f"a part of an upload has at most {UPLOAD_PART_MAX} bytes, not {len(part)}")
            await call.credit.take()
            self._carrier.send([int(Kind.PART), number, count, part])
            count += 1
        self._carrier.send([int(Kind.PARTS_END), number, count])

    # -- messages ---------------------------------------------------------------------------------------------

    def on_message(self, message: Message, cause: BaseException | None = None) -> None:
        """Take a message of the other end."""
        kind, number, *rest = message
        if kind == Kind.REQUEST:
            self._begin(number, *rest)
        elif kind <= Kind.CANCEL:
            answer = self._answered.get(number)
            if answer is not None:
                _continue(answer, kind, rest)
        elif (call := self._made.get(number)) is not None:
            _take(call, kind, rest, cause)

    def on_lost(self, why: str) -> None:
        """End all calls: there is no other end any more."""
        self._lost = Unavailable(why)
        for call in list(self._made.values()):
            call.fail(self._lost)
        for answer in list(self._answered.values()):
            answer.stop()

    async def close(self) -> None:
        """Cancel what is answered, but for the answer that asks for it, and wait for its end."""
        own = asyncio.current_task()
        others = [answer for answer in self._answered.values() if answer.task is not None and answer.task is not own]
        for answer in others:
            answer.stop()
        await asyncio.gather(*(answer.task for answer in others if answer.task), return_exceptions=True)

    # -- calls of the other end -------------------------------------------------------------------------------

    def _begin(self, number: int, target: str, method: str, caller: str, flags: int, body: bytes) -> None:
        answer = self._answered[number] = _Answer(upload=Inbox() if flags & UPLOAD else None)
        parts = self._parts(number, answer.upload) if answer.upload is not None else None
        answer.task = self._spawn(self._answer(number, answer, target, method, caller, flags, parts, body))

    async def _answer(
        self, number: int, answer: _Answer, target: str, method: str, caller: str, flags: int,
        parts: AsyncIterator[bytes] | None, body: bytes,
    ) -> None:  # fmt: skip
        request = None
        try:
            args, kwargs, _, _ = decode_request_untrusted(body)
            request = Request(target, method, caller, args, kwargs, bool(flags & STREAM), parts)
            work: Any = self._answering.begin(request)
            if not request.is_stream:
                self._carrier.send([int(Kind.REPLY), number, pack_value(await work)])
                return
            count = 0
            try:
                async for item in work:
                    await answer.credit.take()
                    self._carrier.send([int(Kind.ITEM), number, count, pack_value(item)])
                    count += 1
            finally:
                if hasattr(work, "aclose"):
                    await work.aclose()
            self._carrier.send([int(Kind.ITEMS_END), number, count])
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or (
                answer.is_stopped and isinstance(error, asyncio.CancelledError)
            ):
                raise
            told = error if isinstance(error, CallError) else self._answering.fold(request, error)
            self._carrier.send([int(Kind.ERROR), number, encode_error(told)], None if told is error else error)
        finally:
            self._answered.pop(number, None)

    async def _parts(self, number: int, upload: Inbox[bytes]) -> AsyncIterator[bytes]:
        while True:
            try:
                part = await upload.get()
            except StopAsyncIteration:
                return
            if due := upload.credit_due():
                self._carrier.send([int(Kind.ALLOW), number, due])
            yield part

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)


class ItemStream:
    """The items of a stream. It has begun; close it (`aclose`) to end it early."""

    def __init__(
        self, conversation: Conversation, number: int, call: _Call, feeding: asyncio.Task[None] | None
    ) -> None:
        self._conversation = conversation
        self._number = number
        self._call = call
        self._feeding = feeding

    def __aiter__(self) -> ItemStream:
        return self

    async def __anext__(self) -> Any:
        inbox = self._call.inbox
        assert inbox is not None
        try:
            item = await inbox.get()
        except StreamBroken:
            if self._feeding is not None and self._feeding.done() and not self._feeding.cancelled():
                await self._feeding  # raises what the source of the parts did
            raise
        if due := inbox.credit_due():
            self._conversation._carrier.send([int(Kind.CREDIT), self._number, due])
        return item

    async def aclose(self) -> None:
        """End the stream, if it has not ended."""
        if self._feeding is not None:
            self._feeding.cancel()
        inbox = self._call.inbox
        self._conversation._close(self._number, is_over=inbox is None or (inbox.ended and not inbox.is_broken))
        if inbox is not None and not inbox.ended:
            inbox.fail(StreamBroken("the stream was closed"))
        await asyncio.sleep(0)


def _continue(answer: _Answer, kind: int, rest: Message) -> None:
    """Take what the other end says further of its call."""
    if kind == Kind.CANCEL:
        answer.stop()
    elif kind == Kind.CREDIT:
        answer.credit.add(rest[0])
    elif answer.upload is not None and kind == Kind.PART:
        answer.upload.put(*rest)
    elif answer.upload is not None:
        answer.upload.finish(rest[0])


def _take(call: _Call, kind: int, rest: Message, cause: BaseException | None) -> None:
    """Take what the other end answers."""
    if kind == Kind.ERROR:
        error = decode_error_untrusted(rest[0])
        error.is_told = True
        error.__cause__ = cause
        call.fail(error)
    elif kind == Kind.ALLOW and call.credit is not None:
        call.credit.add(rest[0])
    elif kind == Kind.REPLY and call.future is not None and not call.future.done():
        call.future.set_result(decode_value_untrusted(rest[0]))
    elif kind == Kind.ITEM and call.inbox is not None:
        call.inbox.put(rest[0], decode_value_untrusted(rest[1]))
    elif kind == Kind.ITEMS_END and call.inbox is not None:
        call.inbox.finish(rest[0])


def _end_if_failed(call: _Call, feeding: asyncio.Task[None]) -> None:
    if not feeding.cancelled() and feeding.exception() is not None:
        call.fail(StreamBroken("what was to be sent could not be read"))
