"""Runs the timers of a component, on the beat of its process: one wake-up for all of them.

A process that rests beats when the next of them is due. Until then no clock but its event loop's goes on for it, so the
supervisor asks it for a beat when the host was suspended or its clock was set.

Before a run begins that has a due time on the disk, the next one is there: so whatever dies meanwhile, it runs at most
once. A disk that refuses keeps the run from beginning, and that is told. The write is made here, in the event loop, as
a component has no thread of its own: one small file, at most once a minute for a timer. A period below a beat has a
timer of the event loop. No run overlaps itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tlsrt.channels.clock import boottime_ms
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.tasks import is_cancelled
from tlsrt.loops.component.timers import At, Every, Timer, timers_of
from tlsrt.loops.component.timetable import Due, Now, Timetable, What, timetable_of
from tlsrt.loops.runtime.due_times import DueTimesError, read_due_times, write_due_times
from tlsrt.loops.runtime.heartbeat import BEAT_S

AGAIN_S = 10.0
STOP_S = 2.0  # for cancelled runs to end


class Clock(Protocol):
    """Both clocks of a host, and the time zone of its wall clock."""

    def now(self) -> Now: ...

    def offset(self, at: int) -> int:
        """Return the seconds east of UTC at a time, in seconds since 1970."""
        ...


class HostClock:
    """The clocks of this host. Its zone is that of the C library: read once, when the supervisor started."""

    def now(self) -> Now:
        return Now(boottime_ms() / 1000, time.time())

    def offset(self, at: int) -> int:
        return time.localtime(at).tm_gmtoff


class _Job:
    """A timer, and the run of it that is under way."""

    def __init__(self, name: str, timer: Timer, table: Timetable) -> None:
        self.name = name
        self.timer = timer
        self.table = table
        self.task: asyncio.Task[None] | None = None
        self.alarm: asyncio.TimerHandle | None = None
        self.began = 0.0
        self.is_idle_wrong = False  # what tells whether a run can wait fails
        self.runs = self.failed = self.failed_in_a_row = self.left_out = 0

    def end(self, task: asyncio.Task[None]) -> None:
        """Take note that the run is over."""
        self.task = None

    @property
    def is_fast(self) -> bool:
        return isinstance(self.timer, Every) and self.timer.period_s < BEAT_S


class ComponentTimers:
    """The timers of one component. `clock` and `chance` (for jitter) are those of a test where it says so."""

    def __init__(
        self, component: Component, state: Path, log: logging.Logger, clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._component = component
        self._state = state
        self._log = log
        self._clock = clock
        self._chance = chance
        self._timers = timers_of(type(component))
        self._jobs: list[_Job] = []
        self._again_at = 0.0  # before then a disk that refused is not asked again
        self._stored: dict[str, float] = {}  # the due times that are on the disk
        self._has_begun = False  # with this beat
        self._is_kept = any(timer.is_kept for timer in self._timers.values())

    def start(self) -> None:
        """Begin; the component has started."""
        if not self._timers:
            return
        kept: dict[str, Due] = {}
        if self._is_kept:
            try:
                kept = read_due_times(self._state)
            except DueTimesError as error:
                self._log.warning("%s: all timers begin anew, with their next due times", error)
        now = self._clock.now()
        self._jobs = [
            _Job(name, timer, timetable_of(timer, kept.get(name), now, self._clock.offset, self._chance))
            for name, timer in self._timers.items()
        ]
        self._stored = {name: due.at for name, due in kept.items()}
        for job in self._jobs:
            if job.is_fast:
                self._set_alarm(job, now)
        self._try_to_store(now)

    def each_beat(self) -> None:
        """Begin what is due."""
        if not self._jobs:
            return
        self._has_begun = False
        now = self._clock.now()
        for job in self._jobs:
            if not job.is_fast:
                self._look(job, now)
        if now.boot >= self._again_at and not self._try_to_store(now):
            self._again_at = now.boot + AGAIN_S

    def next_look(self) -> float:
        """Return in how many seconds a beat has something to do: now is 0 or less, never is infinite.

        The beat behind one that has begun a run takes along what the run has counted.
        """
        if not self._jobs:
            return math.inf
        if self._has_begun:
            return 0.0
        now = self._clock.now()
        left = min(self._seconds_left(job, now) for job in self._jobs)
        return min(left, self._again_at - now.boot) if self._again_at > now.boot else left

    def _seconds_left(self, job: _Job, now: Now) -> float:
        if job.is_fast:
            return 0.0
        is_at = isinstance(job.timer, At)
        return max(job.table.due - (now.wall if is_at else now.boot), self._idle_s(job))

    def _idle_s(self, job: _Job) -> float:
        """Return for how long a run can wait, as the component says. One that cannot say has it run."""
        idle_s = job.timer.idle_s if isinstance(job.timer, Every) else None
        if idle_s is None:
            return 0.0
        try:
            seconds = float(idle_s(self._component))
        except Exception:  # the component's own code
            if not job.is_idle_wrong:
                self._log.exception("timer %s cannot tell whether it has anything to do, and runs", job.name)
            job.is_idle_wrong = True
            return 0.0
        job.is_idle_wrong = False
        return seconds if seconds > 0 else 0.0

    async def stop(self, timeout_s: float) -> None:
        """Begin nothing more, and let what runs end; what has not in time is cancelled."""
        tasks = {job.task for job in self._jobs if job.task is not None}
        for job in self._jobs:
            if job.alarm is not None:
                job.alarm.cancel()
        self._jobs = []
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=timeout_s)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=STOP_S)

    # -- runs -------------------------------------------------------------------------------------------------

    def _look(self, job: _Job, now: Now) -> None:
        if self._idle_s(job) > 0:
            return
        what = job.table.look(now)
        if what is What.MISSED:
            self._log.info("timer %s was due while it could not run, and is left out as it says", job.name)
        elif what is not What.NOTHING and job.task is not None:
            job.left_out += 1
            self._log.warning(
                "timer %s is left out (%d in all): its run of %.0f s ago is not over",
                job.name, job.left_out, now.boot - job.began,
            )  # fmt: skip
        elif what is not What.NOTHING:
            if what is What.LATE:
                self._log.info("timer %s was due while it could not run, and runs now, once", job.name)
            if job.timer.is_kept and not self._try_to_store(now):
                self._log.error("timer %s does not run now: its next due time is not on the disk", job.name)
                return
            job.began, self._has_begun = now.boot, True
            context = contextvars.Context()  # it runs for no caller
            work = asyncio.get_running_loop().create_task(self._run(job), name=f"timer {job.name}", context=context)
            job.task = work
            work.add_done_callback(job.end)

    async def _run(self, job: _Job) -> None:
        job.runs += 1
        try:
            await getattr(self._component, job.name)()
        except BaseException as error:
            if is_cancelled(error):
                raise
            job.failed += 1
            job.failed_in_a_row += 1
            self._log.error(
                "timer %s failed (%d in a row, %d of %d runs)",
                job.name, job.failed_in_a_row, job.failed, job.runs, exc_info=error,
            )  # fmt: skip
        else:
            job.failed_in_a_row = 0

    def _set_alarm(self, job: _Job, now: Now) -> None:
        job.alarm = asyncio.get_running_loop().call_later(max(0.0, job.table.due - now.boot), self._ring, job)

    def _ring(self, job: _Job) -> None:
        now = self._clock.now()
        self._look(job, now)
        self._set_alarm(job, now)

    # -- the disk ---------------------------------------------------------------------------------------------

    def _try_to_store(self, now: Now) -> bool:
        """Put the due times on the disk if others are there; False, and told, if it refuses."""
        records = {job.name: job.table.record(now) for job in self._jobs if job.timer.is_kept}
        times = {name: due.at for name, due in records.items()}
        if times == self._stored:
            return True
        try:
            write_due_times(self._state, records)
        except OSError as error:
            self._log.warning("cannot write the due times of timers: %s", error)
            return False
        self._stored = times
        return True
