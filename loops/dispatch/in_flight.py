"""Requests in flight at one component: tasks, deadlines, and the quota of each caller. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.channels.calls.ending import Ending, Fate
from tlsrt.channels.calls.flow_control import WINDOW, Credit, Inbox
from tlsrt.channels.frames.body import encode_error
from tlsrt.channels.frames.frame import SESSION_BYTES, FrameKind, Header, correlation
from tlsrt.errors import OutcomeUnknown
from tlsrt.loops.component.method import MethodSpec
from tlsrt.loops.dispatch.idempotency import Answer, IdempotentAnswers, Key
from tlsrt.loops.dispatch.quota import Quotas

RUNNING_MAX = 2048  # requests of one component at a time; one subject alone may have half of them
_CANCELLED = "it was cancelled while it ran, as the right to call it had ended"
STREAMS_MAX, STREAMS_OF_ONE = 1024, 64  # streams that are open at one component: in all, and by one subject
RUNNING_BYTES = 64 * 1024 * 1024  # of their arguments, and of uploads that are not read yet


class RunningCall:
    """One request in flight."""

    __slots__ = ("began", "credit", "fault", "header", "is_stopped", "key", "name", "size", "task", "timer", "upload")

    def __init__(self, name: bytes, header: Header) -> None:
        self.name = name
        self.header = header
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.credit: Credit | None = None
        self.upload: Inbox[bytes] | None = None
        self.key: Key | None = None  # under which its answer is remembered
        self.is_stopped = False  # so that it needs no answer; a handler can raise CancelledError of its own
        self.fault = ""  # the code of the error that it ended with
        self.began = 0.0  # in seconds, of one that is measured
        self.size = -1  # bytes that it is charged with; -1: it has no room of its own


class InFlight:
    """The requests of one component that are in flight; `clock` is BOOTTIME in ms."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.by_name: dict[bytes, RunningCall] = {}
        self.answers = IdempotentAnswers(clock)
        self.quotas = Quotas(RUNNING_MAX, RUNNING_BYTES)
        self._streams: BoundedTable[bytes, None] = BoundedTable(STREAMS_MAX, STREAMS_OF_ONE, WhenFull.REFUSE)

    def open_stream(self, request: RunningCall) -> bool:
        """Take a place for a stream, which goes on as long as it is read; False without one for its subject."""
        if not self._streams.add(request.name, None, request.header.src).is_added:
            return False
        request.credit = Credit(WINDOW)
        return True

    def hold_upload(self, header: Header, size: int) -> RunningCall:
        """Take the parts of a request that has not been read; it has been charged with one call of this size."""
        request = RunningCall(correlation(header.session, header.seq), header)
        request.upload = Inbox()
        request.size = size
        self.by_name[request.name] = request
        return request

    def remembered(
        self, request: RunningCall, spec: MethodSpec, idempotency_key: str, tried: int | None, digest: bytes
    ) -> asyncio.Future[Answer] | None:
        """Return the answer of a key that has come before. Else have repetitions wait for this one's.

        Raise Conflict for a key that came with arguments of another digest, and OutcomeUnknown for one that our
        predecessor may have run, unless the method may run twice.
        """
        header = request.header
        key = header.src, header.method, idempotency_key
        known = self.answers.known(key, header.deadline, digest)
        if known is not None or spec.stream:
            return known
        if tried is not None and tried != header.mailbox and not spec.idempotent:
            raise OutcomeUnknown(f"{header.dst} was started anew and does not know whether it ran before")
        self.answers.promise(key, header.deadline, digest)
        request.key = key
        return None

    def spawn(self, request: RunningCall, run: Coroutine[Any, Any, None], work: Any) -> None:
        """Run a request until its deadline; `work` is what `run` awaits."""
        request.task = asyncio.get_running_loop().create_task(run)
        request.task.add_done_callback(lambda task: self._end(request, work))
        self.by_name[request.name] = request
        self.set_deadline(request, request.header.deadline)

    def set_deadline(self, request: RunningCall, deadline: int) -> None:
        """Cancel a request at this time, and no sooner."""
        if request.timer is not None:
            request.timer.cancel()
        left = max(0, deadline - self._clock()) / 1000
        request.timer = asyncio.get_running_loop().call_later(left, self.stop, request)

    def stop(self, request: RunningCall) -> None:
        """Cancel a request."""
        request.is_stopped = True
        if request.task is not None:
            request.task.cancel()

    def _end(self, request: RunningCall, work: Any) -> None:
        if request.timer is not None:
            request.timer.cancel()
        if isinstance(work, Coroutine):
            work.close()  # one that was cancelled before it began
        request.task = None  # else it and its error hold each other, with all that its frames have, until the next gc
        self.release(request)

    def release(self, request: RunningCall) -> None:
        """End its charge and take no more of it; a repetition of one that was cancelled on the way is run again."""
        self.by_name.pop(request.name, None)
        if request.key is not None:
            self.answers.break_promise(request.key)
        if request.credit is not None:
            self._streams.remove(request.name)
        if request.size >= 0:
            self.quotas.give_back(request.header.src, 1, request.size)
            request.size = -1

    def end(self, ending: Ending) -> None:
        """Cancel the requests of those who are gone.

        One with an idempotency key goes on for the session that follows. Where none may, its key keeps an answer all
        the same, so that nothing of it runs twice.
        """
        for request in list(self.by_name.values()):
            fate = ending.fate(request.name[:SESSION_BYTES], request.header.src)
            if fate is Fate.GOES_ON or (request.key is not None and fate is Fate.ENDS):
                continue
            if request.key is not None:
                self.answers.keep(request.key, (FrameKind.ERROR, encode_error(OutcomeUnknown(_CANCELLED))))
            self.stop(request)

    def cancel_streams(self) -> None:
        """Cancel all streams, which end by themselves only if they have an end."""
        for request in list(self.by_name.values()):
            if request.credit is not None:
                self.stop(request)

    async def finish(self, timeout_s: float) -> None:
        """End streams, let calls finish for so long, then cancel them."""
        self.cancel_streams()
        requests = [request for request in self.by_name.values() if request.task is not None]
        tasks = [request.task for request in requests if request.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for request in requests:
            self.stop(request)
        await asyncio.gather(*tasks, return_exceptions=True)
