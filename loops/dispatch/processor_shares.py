"""Processor shares: who has used its slice of a turn waits behind all others. asyncio.

Theory of operation. A component's handlers run in the one thread of its loop, so what one caller has them compute all
others wait for. In each turn of the event loop a caller (a subject, with all of its sessions) may use one slice: the
bodies of its requests are decoded and its handlers begin as they come. What comes beyond waits unread, and the loop
takes it up in later turns, a slice in each, one request of each waiting caller after the other. So nothing is slower
for who is alone, and no one waits for more than a slice of all others and the request that just runs, however many of
them there are. What waits counts against the quota of its caller, beyond which the answer is `busy`.

A handler that awaits is held to that in each of its steps: one that is due when its caller has no share left waits in
the caller's line. First steps go before all else, so that calls begin in the order in which they came; then later
steps and unread requests alternate, so that what runs can end and what is new can begin. Only the event loop can run a
step, so the line promises it a turn as long as the steps before took. Where those take more the promise lapses, and the
step waits again at its place. After a promise the line rests for one turn of the loop, in which all others run.
A cancellation does not wait. What a handler computes in tasks of its own is not seen.

Who uses more than its budget of seconds a second while others want the loop is told of, as nothing else shows that.

A turn is what a link read in one callback, or what was taken up here. Time is that of the wall, read once or twice a
request and twice a step: that of the processor costs a system call.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, Protocol

from tlsrt.budget import Budget, Spending
from tlsrt.channels.links.write_batch import WriteBatch

SLICE_S = 0.002
BURST_S = 1.0
PER_S = 0.5  # of a loop's one thread
TOLD_S = 5.0  # between two reports of one session
TOLD_MAX = 256


class ProcessorReports(Protocol):
    """Who is told of callers that use much."""

    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        """A session's subject uses more than its share."""

    def on_refused_session(self, session: bytes, reason: str) -> None:
        """A request of a session that had waited could not be read."""


class _Request(NamedTuple):
    """What has not been read."""

    session: bytes
    run: Callable[[], None]


class _Step(NamedTuple):
    """A task that runs in the next turn of the event loop when it is woken."""

    number: int  # its place
    session: bytes
    woken: asyncio.Future[None]


class _Line:
    """What waits of one subject, and about what a step of its handlers uses: SLICE_S if none is known."""

    __slots__ = ("_is_unread_next", "_unread", "first_steps", "later_steps", "step_s")

    def __init__(self) -> None:
        self.first_steps: list[_Step] = []  # heaps by number
        self.later_steps: list[_Step] = []
        self._unread: deque[_Request] = deque()
        self._is_unread_next = True
        self.step_s = SLICE_S

    def __bool__(self) -> bool:
        return bool(self._unread or self.first_steps or self.later_steps)

    def add(self, request: _Request) -> None:
        self._unread.append(request)

    def pop(self) -> _Request | _Step:
        """Take out what is next."""
        if self.first_steps:
            return heapq.heappop(self.first_steps)
        self._is_unread_next = bool(self._unread) and (self._is_unread_next or not self.later_steps)
        if self._is_unread_next:
            self._is_unread_next = False
            return self._unread.popleft()
        self._is_unread_next = True
        return heapq.heappop(self.later_steps)


class ProcessorShares:
    """The shares of one loop's callers."""

    def __init__(
        self, batch: WriteBatch, reports: ProcessorReports, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._batch = batch
        self._reports = reports
        self._clock = clock
        self._turn = -1
        self._used: dict[str, float] = {}  # in this turn, by subject
        self._began = 0.0
        self._waiting: OrderedDict[str, _Line] = OrderedDict()  # the next one first
        self._is_scheduled = False
        self._numbers = itertools.count()
        self._spending = Spending(BURST_S, PER_S)
        self._company_at = -TOLD_S  # when someone ran while another waited
        self._told: OrderedDict[bytes, float] = OrderedDict()

    def must_wait(self, subject: str) -> bool:
        """Tell whether a request of this subject has to wait. If not, it begins now, and `used` is called after it."""
        turn = self._batch.turn
        if turn != self._turn:  # within a turn one request begins where the one before has ended
            self._turn = turn
            self._used.clear()
            self._began = self._clock()
        if not self._waiting:
            return self._used.get(subject, 0.0) > SLICE_S
        if subject in self._waiting or self._used.get(subject, 0.0) > SLICE_S:
            return True
        self._company_at = self._began
        return False

    def used(self, subject: str) -> None:
        """Note what has been used since `must_wait` was asked."""
        now = self._clock()
        self._used[subject] = self._used.get(subject, 0.0) + now - self._began
        self._began = now

    def wait(self, subject: str, session: bytes, run: Callable[[], None]) -> None:
        """Read and begin a request by this when it is the subject's turn."""
        self._line(subject).add(_Request(session, run))
        self._schedule()

    def refused(self, session: bytes, reason: str) -> None:
        """Tell that a request could not be read when its turn came."""
        self._reports.on_refused_session(session, reason)

    def over(self, session: bytes, budget: Budget) -> None:
        """Tell that a session's subject is over another budget of this loop."""
        self._reports.on_over_budget(session, budget)

    @types.coroutine
    def turn(self, subject: str, session: bytes, *, is_first: bool) -> Generator[Any, Any, None]:
        """Return when a task of this subject may go on, for which `must_wait` is true."""
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        while True:
            woken: asyncio.Future[None] = loop.create_future()
            line = self._line(subject)
            heapq.heappush(line.first_steps if is_first else line.later_steps, _Step(number, session, woken))
            self._schedule()
            yield from woken
            if self._used.get(subject, 0.0) <= SLICE_S:
                return

    @types.coroutine
    def metered(self, subject: str, session: bytes, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Return the result of a handler. Note what each of its steps uses; all but the first wait for their turn."""
        clock, used, send, waiting = self._clock, self._used, work.send, self._waiting  # measured: a step costs 0.4 µs
        began = clock()
        try:
            waits_for = send(None)
            while True:
                now = clock()
                used[subject] = used.get(subject, 0.0) + now - began
                if waiting:
                    self._note_step(subject, session, now, now - began)
                thrown: BaseException | None = None
                try:
                    yield waits_for
                except BaseException as error:  # a cancellation is the handler's to see
                    thrown = error
                if (waiting or used.get(subject, 0.0) > SLICE_S) and self.must_wait(subject):
                    thrown = yield from self._turn_of_step(subject, session, thrown)
                began = clock()
                waits_for = send(None) if thrown is None else work.throw(thrown)
        except BaseException as end:
            now = clock()
            used[subject] = used.get(subject, 0.0) + now - began
            if waiting:
                self._note_step(subject, session, now, now - began)
            if isinstance(end, StopIteration):
                return end.value
            raise

    @types.coroutine
    def _turn_of_step(
        self, subject: str, session: bytes, thrown: BaseException | None
    ) -> Generator[Any, Any, BaseException | None]:
        """Wait for a turn; return what the step is to raise."""
        if thrown is None or isinstance(thrown, Exception):  # neither a cancellation nor the end of the coroutine
            try:
                yield from self.turn(subject, session, is_first=False)
            except BaseException as error:  # it was cancelled while it waited
                return error
        return thrown

    def _note_step(self, subject: str, session: bytes, now: float, used: float) -> None:
        line = self._waiting.get(subject)
        if line is not None:
            line.step_s = max(used, line.step_s / 2)  # small steps between large ones promise little
            self._spend(subject, session, now, used)

    def _line(self, subject: str) -> _Line:
        line = self._waiting.get(subject)
        if line is None:
            line = self._waiting[subject] = _Line()
            if len(self._waiting) > 1:
                self._company_at = self._began
        return line

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _go_on(self) -> None:
        """Take up more in the turn after this one: steps have just run, and all others come first now."""
        self._is_scheduled = False
        if self._waiting:
            self._schedule()

    def _run(self) -> None:
        """Take up what waits, for a slice."""
        self._is_scheduled = False
        self._batch.begin_turn()
        self._turn = self._batch.turn
        self._used.clear()
        begin = self._began = self._clock()
        promised = 0.0  # to steps, which run in the next turn
        try:
            while self._waiting and self._began - begin + promised < SLICE_S:
                subject, line = next(iter(self._waiting.items()))
                waiting = line.pop()
                if line:
                    self._waiting.move_to_end(subject)
                else:
                    del self._waiting[subject]
                began = self._began
                try:
                    if isinstance(waiting, _Request):
                        waiting.run()
                    elif not waiting.woken.done():  # it has not been cancelled
                        waiting.woken.set_result(None)
                        promised += line.step_s
                finally:
                    self.used(subject)
                    self._spend(subject, waiting.session, self._began, self._began - began)
        finally:
            if promised:
                self._is_scheduled = True
                asyncio.get_running_loop().call_soon(self._go_on)
            elif self._waiting:
                self._schedule()
            self._batch.end()

    def _spend(self, subject: str, session: bytes, now: float, used: float) -> None:
        is_over = self._spending.spend(subject, now, used) > 0
        if not is_over or not session:  # a job has none: the authority takes reports of sessions only
            return
        if now - self._company_at > TOLD_S or now - self._told.get(session, now - TOLD_S) < TOLD_S:
            return
        self._told[session] = now
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        self._reports.on_over_budget(session, Budget.PROCESSOR)
