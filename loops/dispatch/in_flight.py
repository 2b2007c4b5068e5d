"""The sending half of a responder: what is under way at one component, and how answers leave. asyncio.

Every request is answered once, except when the asker has cancelled it or its deadline has passed, for then nobody
listens. A full queue is waited out; a channel that is down swallows an answer, for its asker has been told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tlsrt.channels.calls.batching import ANSWER_DEADLINE_MS, Batcher
from tlsrt.channels.calls.flow_control import Credit, Inbox
from tlsrt.channels.frames.frame import BATCH_FRAME_MAX, FrameKind, Header
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.errors import Busy, CallError, Unavailable
from tlsrt.loops.dispatch.idempotency import IdempotentAnswers, Key
from tlsrt.loops.dispatch.quota import Quotas

RUNNING_MAX = 2048  # requests of one component at a time; one subject alone may have half of them
RUNNING_BYTES = 64 * 1024 * 1024  # of their arguments, and of uploads that nobody has read yet


class RunningCall:
    """One request under way."""

    __slots__ = ("credit", "header", "key", "name", "size", "task", "timer", "upload")

    def __init__(self, name: bytes, header: Header) -> None:
        self.name = name
        self.header = header
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.credit: Credit | None = None
        self.upload: Inbox[bytes] | None = None
        self.key: Key | None = None  # under which its answer is remembered
        self.size = -1  # bytes that it is charged with; -1: it has no room of its own


class InFlight:
    """The requests of one component that are under way. Their answers leave over its endpoint."""

    def __init__(
        self, endpoint: Endpoint, send: Callable[[bytes], None], clock: Callable[[], int], outbox: Batcher | None
    ) -> None:
        self._endpoint = endpoint
        self._send = send
        self._clock = clock
        self._running: dict[bytes, RunningCall] = {}
        self._answers = IdempotentAnswers(clock)
        self._shares = Quotas(RUNNING_MAX, RUNNING_BYTES)
        self._outbox = outbox
        if outbox is not None:
            outbox.on_unsent_replies = self._unsent

    @property
    def running(self) -> int:
        return len(self._running)

    def _spawn(self, request: RunningCall, run: Coroutine[Any, Any, None], work: Any) -> None:
        request.task = asyncio.get_running_loop().create_task(run)
        request.task.add_done_callback(lambda task: self._end(request, work))
        self._running[request.name] = request
        self._set_deadline(request, request.header.deadline)

    def _set_deadline(self, request: RunningCall, deadline: int) -> None:
        if request.timer is not None:
            request.timer.cancel()
        left = max(0, deadline - self._clock()) / 1000
        request.timer = asyncio.get_running_loop().call_later(left, self._stop, request)

    def _stop(self, request: RunningCall) -> None:
        if request.task is not None:
            request.task.cancel()

    def _end(self, request: RunningCall, work: Any) -> None:
        self._running.pop(request.name, None)
        if request.timer is not None:
            request.timer.cancel()
        if isinstance(work, Coroutine):
            work.close()  # one that was cancelled before it began
        self._leave(request)

    def _leave(self, request: RunningCall) -> None:
        """Give back its room; what was cancelled on the way is run again for whoever repeats it."""
        if request.key is not None:
            self._answers.break_promise(request.key)
        if request.size >= 0:
            self._shares.give_back(request.header.src, 1, request.size)
            request.size = -1

    def _send_reply(self, request: RunningCall, kind: FrameKind, body: bytes) -> None:
        """Seal and send now; a full queue is waited out in a task, by as many answers as there is room for."""
        try:
            self._send(self._sealed(request, kind, body, 0, 0))
        except Busy:
            if self._shares.take(request.header.src, 1, len(body)):  # else: the asker meets its deadline
                request.size = len(body)
                self._spawn(request, self._answer(request, kind, body), None)
        except Unavailable:
            return

    async def _answer(
        self, request: RunningCall, kind: FrameKind, body: bytes, *, part: int = 0, flags: int = 0
    ) -> None:
        """Seal and send; a full queue is waited out, a channel that is down swallows it: its asker has been told."""
        if self._bundled(request, kind, body):
            return
        while True:
            try:
                self._send(self._sealed(request, kind, body, part, flags))
                return
            except Busy:
                await asyncio.sleep(0.005)
            except Unavailable:
                return

    def _bundled(self, request: RunningCall, kind: FrameKind, body: bytes) -> bool:
        """Leave a reply to a request out of a bundle to the outbox; it may share a frame with others of this turn."""
        if self._outbox is None or kind != FrameKind.REPLY or request.header.kind != FrameKind.REQUESTS:
            return False
        if len(body) > BATCH_FRAME_MAX:
            return False
        self._outbox.reply(request.header, request.name, body)
        return True

    def _unsent(self, header: Header, names: list[bytes], bodies: list[bytes], error: CallError) -> None:
        """Replies could not be sent: a full queue is waited out for each, as in `_answer`."""
        if isinstance(error, Busy):
            for name, body in zip(names, bodies, strict=True):
                self._send_reply(RunningCall(name, header._replace(kind=FrameKind.REQUEST)), FrameKind.REPLY, body)

    def _answer_now(self, request: RunningCall, kind: FrameKind, body: bytes) -> None:
        try:
            self._send(self._sealed(request, kind, body, 0, 0))
        except CallError:
            return  # full or down: the asker meets its deadline

    def _sealed(self, request: RunningCall, kind: FrameKind, body: bytes, part: int, flags: int) -> bytes:
        return self._endpoint.seal_reply(
            kind, request.header, body, self._clock() + ANSWER_DEADLINE_MS, correlation=request.name, part=part,
            flags=flags,
        )  # fmt: skip
