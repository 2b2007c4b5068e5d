"""Processor shares: who has used its slice of a turn waits behind all others. asyncio.

Theory of operation. A component's handlers run in the one thread of its loop, so what one caller has them compute all
others wait for. In each turn of the event loop a caller (a subject, with all of its sessions) may use one slice: the
bodies of its requests are decoded and its handlers begin as they come. What comes beyond waits unread, and the loop
takes it up in later turns, a slice in each, one request of each waiting caller after the other. So nothing is slower
for who is alone, and no one waits for more than a slice of all others and the request that just runs, however many of
them there are. What waits counts against the quota of its caller, beyond which the answer is `busy`.

That holds for handlers that await nothing, and for what others do before their first await. A handler that has begun
is not held back: what its later steps use is noted (of one in eight, for all of them, unless its caller has something
waiting), but many that began in one turn and compute after an await do so together.

Who uses more than its budget of seconds a second while others want the loop is told of, as nothing else shows that.

A turn is what a link read in one callback, or what was taken up here. Time is that of the wall, read once or twice a
request: that of the processor costs a system call.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, Protocol

from tlsrt.budget import Budget, Spending
from tlsrt.channels.links.write_batch import WriteBatch

SLICE_S = 0.002
SAMPLED = 8  # of so many handlers that await, one is metered, for all of them
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


class _Waiting(NamedTuple):
    session: bytes
    run: Callable[[], None]
    goes_on: bool  # it runs in the next turn, as it only wakes a task


class _Line(deque[_Waiting]):
    """What waits of one subject, and what the latest step of its handlers has used: SLICE_S if none is known."""

    step_s = SLICE_S


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
        self._unmetered = 0
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

    def wait(self, subject: str, session: bytes, run: Callable[[], None], *, goes_on: bool = False) -> None:
        """Run this when it is the subject's turn."""
        queue = self._waiting.get(subject)
        if queue is None:
            queue = self._waiting[subject] = _Line()
            if len(self._waiting) > 1:
                self._company_at = self._began
        queue.append(_Waiting(session, run, goes_on))
        self._schedule()

    def refused(self, session: bytes, reason: str) -> None:
        """Tell that a request could not be read when its turn came."""
        self._reports.on_refused_session(session, reason)

    def over(self, session: bytes, budget: Budget) -> None:
        """Tell that a session's subject is over another budget of this loop."""
        self._reports.on_over_budget(session, budget)

    async def turn(self, subject: str, session: bytes) -> None:
        """Return when a task of this subject may begin."""
        if not self.must_wait(subject):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wait(subject, session, lambda: None if future.done() else future.set_result(None), goes_on=True)
        await future

    def weight(self, subject: str) -> int:
        """Tell for how many calls the next one of this subject is metered; 0: not at all, as that costs time itself."""
        if subject in self._waiting:
            return 1
        self._unmetered = (self._unmetered + 1) % SAMPLED
        return 0 if self._unmetered else SAMPLED

    @types.coroutine
    def metered(
        self, subject: str, session: bytes, work: Coroutine[Any, Any, Any], weight: int = 1
    ) -> Generator[Any, Any, Any]:
        """Return the result of a handler, and note what each of its steps uses, so many times."""
        value: Any = None
        thrown: BaseException | None = None
        while True:
            began = self._clock()
            try:
                waits_for = work.send(value) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                return end.value
            finally:
                now = self._clock()
                self._used[subject] = self._used.get(subject, 0.0) + weight * (now - began)
                line = self._waiting.get(subject)
                if line is not None:
                    line.step_s = now - began
                    self._spend(subject, session, now, now - began)
            value = thrown = None
            try:
                value = yield waits_for
            except BaseException as error:  # a cancellation is the handler's to see
                thrown = error

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        """Take up what waits, for a slice."""
        self._is_scheduled = False
        self._batch.begin_turn()
        self._turn = self._batch.turn
        self._used.clear()
        begin = self._began = self._clock()
        promised = 0.0  # to tasks, which run in the next turn
        try:
            while self._waiting and self._began - begin + promised < SLICE_S:
                subject, line = next(iter(self._waiting.items()))
                waiting = line.popleft()
                if line:
                    self._waiting.move_to_end(subject)
                else:
                    del self._waiting[subject]
                began = self._began
                try:
                    waiting.run()
                finally:
                    self.used(subject)
                    self._spend(subject, waiting.session, self._began, self._began - began)
                    promised += line.step_s if waiting.goes_on else 0.0
        finally:
            if self._waiting:
                self._schedule()
            self._batch.end()

    def _spend(self, subject: str, session: bytes, now: float, used: float) -> None:
        is_over = self._spending.spend(subject, now, used) > 0
        if not is_over or now - self._company_at > TOLD_S or now - self._told.get(session, now - TOLD_S) < TOLD_S:
            return
        self._told[session] = now
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        self._reports.on_over_budget(session, Budget.PROCESSOR)
