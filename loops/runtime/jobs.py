"""Jobs at the components of one process: taken for the authority, which keeps them, and run when it says so. asyncio.

A request to put a call off is checked as the call itself, and carried to the authority with its caller's proof. The
authority says a run once, or again after it was restarted: a run that was heard of is not run twice. How it ended goes
back as one word; what a handler gave or raised stays here, in the log, unless its owner has it kept: then it goes back
sealed for the owner.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from tlsrt.channels.calls.ending import Ending, Fate
from tlsrt.channels.control.job_messages import OUTCOME, JobAnswerMessage, JobRunMessage
from tlsrt.channels.frames.body import decode_request_untrusted, pack_value
from tlsrt.channels.frames.deferral import Deferral
from tlsrt.channels.frames.frame import DEADLINE_MAX_MS, Header
from tlsrt.channels.frames.trace import CURRENT
from tlsrt.channels.session.job_result import seal_result
from tlsrt.errors import (
    Away,
    Busy,
    CallError,
    Cancelled,
    DeadlineExceeded,
    InvalidArgument,
    PeerError,
    Unavailable,
    call_error,
)
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.dispatch.deferrals import wrong_kind
from tlsrt.loops.dispatch.faults import Faults
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.dispatch.tracer import Tracer

ASKED_MAX = 64  # requests that the authority has not answered, of all callers
RUN_S = DEADLINE_MAX_MS / 1000  # as long as a call may take
HEARD_MAX = 1024  # runs that are remembered: four times as many as there are jobs
AGAIN_S = 0.5
STOP_S = 2.0  # for cancelled runs to end
_DONE = "done"


@dataclass
class _Run:
    """The last run of a job that was heard of."""

    number: int
    owner: str
    task: asyncio.Task[str] | None = None
    outcome: str = ""  # while it runs
    result: bytes = b""  # sealed


class Serving(Protocol):
    """Says whether a component serves now; see dispatch/responder.py."""

    def check_serves(self, method: str) -> None:
        """Raise Away if a call of this method would not run now."""
        ...


@dataclass
class _Place:
    """A component that can be called later."""

    component: Component
    serving: Serving
    faults: Faults
    log: logging.Logger
    runs: dict[bytes, _Run] = field(default_factory=dict[bytes, _Run])


class ProcessJobs:
    """Jobs of the components of a process. `send` sends a message to the authority, and raises PeerError."""

    def __init__(
        self, send: Callable[..., None], shares: ProcessorShares, clock: Callable[[], int],
        tracer: Tracer | None = None, *, is_gate: bool = False,
    ) -> None:  # fmt: skip
        self._send = send
        self._shares = shares
        self._clock = clock
        self._is_gate = is_gate
        self._tracer = tracer or Tracer()
        self._put_in: OrderedDict[bytes, bytes] = OrderedDict()  # job -> the sampled trace in which it was put
        self._places: dict[str, _Place] = {}
        self._asked: dict[int, asyncio.Future[list[Any]]] = {}
        self._number = 0

    def add(self, address: str, component: Component, serving: Serving, log: logging.Logger) -> None:
        """Take jobs for a component."""
        self._places[address] = _Place(component, serving, Faults(address, log, self._clock), log)

    # -- what callers ask -------------------------------------------------------------------------------------

    def answer(self, header: Header, deferral: Deferral) -> Coroutine[Any, Any, object]:
        """Return what to await for the answer to a request about jobs. Raises a CallError at once."""
        place = self._places.get(header.dst)
        if self._is_gate and deferral.what == "list":
            return _none()
        if place is None or self._is_gate:  # it has the key of every proof, so its word would be none
            raise InvalidArgument(f"{header.dst} takes no jobs: it runs in the process of the gate")
        if deferral.what == "put":
            args, kwargs = _call_untrusted(deferral.call)
            work = invoke(place.component, header.method, args, kwargs, subject=header.src)
            if not isinstance(work, Coroutine):
                raise wrong_kind(header.method, is_stream=True, is_put_off=True)
            work.close()  # it was checked, and runs later
            self._remember(deferral.job)
            fields = (
                header.session, header.method, deferral.job, deferral.when, deferral.missed, deferral.call,
                deferral.deadline, deferral.epoch, deferral.number, deferral.proof, deferral.key,
            )  # fmt: skip
            return self._ask("job_put", header.dst, *fields)
        if header.method != "describe":
            raise InvalidArgument("jobs are listed, shown, paused and removed by way of describe")
        if deferral.what == "list":
            return self._ask("job_list", header.dst, header.src)
        return self._ask(f"job_{deferral.what}", header.dst, header.src, deferral.job)

    def _remember(self, job: bytes) -> None:
        """Have the first run of a job belong to the trace of what puts it, as long as this process lives."""
        trace = self._tracer.sampled_trace()
        if trace:
            self._put_in[job] = trace
            while len(self._put_in) > HEARD_MAX:
                self._put_in.popitem(last=False)

    async def _ask(self, name: str, *fields: object) -> object:
        if len(self._asked) >= ASKED_MAX:
            raise Busy("too many requests about jobs are waiting")
        self._number += 1
        number = self._number
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            try:
                self._send(name, number, *fields)
            except PeerError:
                raise Unavailable("the authority is busy or restarting; nothing was done") from None
            return await answer
        finally:
            self._asked.pop(number, None)

    def answered(self, message: JobAnswerMessage) -> None:
        """Take an answer of the authority; one that is waited for no more is dropped."""
        answer = self._asked.pop(message.number, None)
        if answer is None or answer.done():
            return
        if message.code:
            sentence = message.rows[0] if message.rows and type(message.rows[0]) is str else message.code
            answer.set_exception(call_error(message.code, sentence))
        else:
            answer.set_result(message.rows)

    # -- what the authority says ------------------------------------------------------------------------------

    def run(self, message: JobRunMessage) -> None:
        """Begin a run, unless it was heard of: then say how it ended, if it has."""
        place = self._places.get(message.component)
        if place is None:
            raise PeerError("unknown_component")
        known = place.runs.get(message.job)
        if known is not None and message.run <= known.number:
            if known.outcome and message.run == known.number:
                self._report(message, known)
            return
        if known is None and len(place.runs) >= HEARD_MAX:
            place.runs.pop(next((job for job, run in place.runs.items() if run.task is None), b""), None)
        run = place.runs[message.job] = _Run(message.run, message.owner)
        work = self._traced(place, message, run)
        context = contextvars.Context()  # it runs within no request
        run.task = asyncio.get_running_loop().create_task(work, name=f"job {message.method}", context=context)
        run.task.add_done_callback(partial(self._ended, message, run))  # also when it is cancelled before it begins

    def _ended(self, message: JobRunMessage, run: _Run, task: asyncio.Task[str]) -> None:
        run.task = None
        run.outcome = Cancelled.code if task.cancelled() else task.result()
        self._report(message, run)

    async def _traced(self, place: _Place, message: JobRunMessage, run: _Run) -> str:
        """Run it within a span, if it is sampled: what it calls and runs goes on with that."""
        put = self._put_in.pop(message.job, b"")
        span = self._tracer.begin_job(message.component, message.method, message.owner, put)
        if span is None:
            return await self._outcome(place, message, run)
        CURRENT.set(span.trace.encode())
        outcome = Cancelled.code
        try:
            outcome = await self._outcome(place, message, run)
            return outcome
        finally:
            span.end("" if outcome == _DONE else outcome)

    async def _outcome(self, place: _Place, message: JobRunMessage, run: _Run) -> str:
        try:
            place.serving.check_serves(message.method)
        except Away as error:  # no other says that nothing has begun
            place.log.info("job %s of %s: %s: %s", message.method, message.owner, error.code, error.message)
            return error.code
        try:
            args, kwargs = _call_untrusted(message.call)
            work = invoke(place.component, message.method, args, kwargs, subject=message.owner)
            if not isinstance(work, Coroutine):
                raise InvalidArgument("it is a stream by now")
            try:
                async with asyncio.timeout(RUN_S):
                    value = await self._shares.metered(message.owner, b"", work)
                    pack_value(value)
            except TimeoutError:
                raise DeadlineExceeded(f"it took longer than {RUN_S:g} s") from None
        except asyncio.CancelledError:
            raise
        except CallError as error:
            place.log.warning("job %s of %s: %s: %s", message.method, message.owner, error.code, error.message)
            run.result = _sealed(message, _word_of(error), str(error.message))
            return _word_of(error)
        except BaseException as error:
            folded = place.faults.fold(message.method, error)
            run.result = _sealed(message, folded.code, str(folded.message))
            return folded.code
        run.result = _sealed(message, _DONE, value)
        return _DONE

    def _report(self, message: JobRunMessage, run: _Run) -> None:
        try:
            self._send("job_over", message.component, message.job, run.number, run.outcome, run.result)
        except PeerError as error:
            if error.reason == "hung":  # it does not read now; without any authority this process ends
                asyncio.get_running_loop().call_later(AGAIN_S, self._report, message, run)

    # -- ending -----------------------------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        """Cancel the runs of owners who may call nothing any more. A job belongs to no session: it outlives those."""
        for place in self._places.values():
            for run in place.runs.values():
                if run.task is not None and ending.fate(b"", run.owner) is Fate.ENDS_FOR_ALL:
                    run.task.cancel()

    async def stop(self, address: str, timeout_s: float) -> None:
        """Let the runs of a component end; what has not in time is cancelled."""
        place = self._places.get(address)
        tasks = {run.task for run in place.runs.values() if run.task is not None} if place is not None else set()
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=timeout_s)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=STOP_S)


def _word_of(error: CallError) -> str:
    """Return the outcome of a run that a handler has ended so. It has begun, so it is never `away`."""
    if error.code == Away.code:
        return Unavailable.code
    is_word = type(error.code) is str and OUTCOME.fullmatch(error.code)  # a component may make codes of its own
    return error.code if is_word else CallError.code


def _sealed(message: JobRunMessage, outcome: str, value: object) -> bytes:
    """Return what a run gave, sealed for the owner of the job if that has it kept."""
    if not message.key:
        return b""
    try:
        return seal_result(message.key, message.job, message.run, outcome, value)
    except PeerError:  # the owner's key is none
        return b""


async def _none() -> list[object]:
    return []


def _call_untrusted(body: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of the call that is to run later. Raises InvalidArgument."""
    try:
        args, kwargs, key, _ = decode_request_untrusted(body)
    except PeerError:
        raise InvalidArgument("cannot read the arguments of the job") from None
    if key is not None:
        raise InvalidArgument("a job has no idempotency key: it runs at most once")
    return args, kwargs
