"""Disk thread: what a component does on its disk, one operation after another, in a thread of its own.

A disk may take seconds for an fsync, and an event loop that waits for it answers no call and seems to hang. So a
component hands its work to this thread and awaits it; meanwhile its event loop beats and serves what needs no disk.
Each subject has a line of its own (disk_lines.py), and the lines are served in turn: one that has much to do on a slow
disk holds up another for one operation. Changes that wait are one operation together, so that a worker can put many of
them on the disk with one fsync.

In a sandbox the thread is started between the two parts of the seal: it inherits the Landlock rules, which are of one
thread (landlock_restrict_self(2)), and gets the last filter with all others, after which no thread can be made.

What waits is bounded, in all and by a share for each subject; one that has used up its share is told `busy`.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, cast

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.budget import Budget, OverBudget
from tlsrt.errors import Busy
from tlsrt.loops.disk_lines import DiskLines
from tlsrt.loops.disk_space import trouble_of_folder
from tlsrt.sandbox.syscalls import name_thread

Result = TypeVar("Result")
Settled = Callable[[object], None]

WAITING_MOST = 1024  # of all subjects
WAITING_SHARE = 256  # of one
BYTES_MOST = 32 << 20  # that what waits may hold
BYTES_SHARE = 8 << 20
CHECK_S = 1.0  # that a health check waits


class DiskWork(Generic[Result]):
    """One thing to do in a `DiskThread`; `size` are the bytes that it holds meanwhile. Changes may be done together."""

    __slots__ = ("is_change", "run", "size")

    def __init__(self, run: Callable[[], Result], *, is_change: bool = False, size: int = 0) -> None:
        self.run = run
        self.is_change = is_change
        self.size = size


class DiskWorker(Protocol):
    """Carries out work in the disk thread."""

    def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
        """Do all of it in this order; return for each its result, or the exception that it ended with."""
        ...

    def rest(self) -> None:
        """Do what no answer waits for. Cannot fail."""
        ...


class EachAlone:
    """A worker of a `DiskThread` that does one thing after another."""

    def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
        return [outcome_of(work) for work in works]

    def rest(self) -> None:
        """Nothing is left."""


def outcome_of(work: DiskWork[Any]) -> object:
    """Return the result of one thing, or the exception that it ended with."""
    try:
        return work.run()
    except BaseException as error:  # it belongs to who awaits it
        return error


def _as_error(outcome: object) -> Exception | None:
    """Return what is to be raised instead of a result, None for a result."""
    if not isinstance(outcome, BaseException):
        return None
    if isinstance(outcome, Exception) and not isinstance(outcome, StopIteration):
        return outcome
    error = RuntimeError(f"work for the disk ended with {type(outcome).__name__}")  # which no future may hold
    error.__cause__ = outcome
    return error


def _refusal(table: BoundedTable[int, None], subject: str, size: int, sentence: str) -> Busy:
    """Return the error for a subject that gets no room: it is over its budget, or all others take what there is."""
    if table.size_of(subject) + size > table.share:
        return OverBudget(sentence, Budget.DISK)
    return Busy(sentence)


def _report(loop: asyncio.AbstractEventLoop, message: str, error: BaseException) -> None:
    loop.call_exception_handler({"message": message, "exception": error})


class _Job:
    """Work with its line and who awaits it."""

    __slots__ = ("future", "key", "loop", "settled", "subject", "work")

    def __init__(self, key: int, subject: str | None, work: DiskWork[Any], settled: Settled | None) -> None:
        self.key = key
        self.subject = subject  # None: behind all lines
        self.work = work
        self.settled = settled
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()


class DiskCheck:
    """A health check that looks at the disk and never waits long for it: a wait is reported by other means.

    It tells of a folder that takes no more, and of what `look` says is wrong, which is called in the disk thread.
    """

    def __init__(self, disk: DiskThread, folder: Path, look: Callable[[], str | None] = lambda: None) -> None:
        self._disk = disk
        self._look = lambda: look() or trouble_of_folder(folder)
        self._task: asyncio.Task[None] | None = None
        self.trouble: str | None = None  # when it looked last

    async def ask(self) -> str | None:
        """Return what is wrong, or None; while the disk does not answer, what was wrong before."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._ask())
        await asyncio.wait({self._task}, timeout=CHECK_S)
        return self.trouble

    async def _ask(self) -> None:
        try:
            self.trouble = await self._disk.run("", DiskWork(self._look))
        except Exception as error:  # told as what is wrong, whenever it comes
            self.trouble = f"{type(error).__name__}: {error}"


class DiskThread:
    """A thread that does a component's work on its disk, so that a slow one makes answers late and nothing else.

        class Diary(Component):
            def __init__(self) -> None:
                self.disk = DiskThread("diary-disk", EachAlone())
                self.disk_threads = (self.disk,)

            @handler
            async def add(self, text: str) -> None:
                await self.disk.run(self.caller, DiskWork(partial(self.append, text), is_change=True))

    It takes `disk_threads: N` under `needs`. The runtime starts it before the seal, and status tells of a disk that
    does not answer. Each subject has a line of its own, and a bounded share of what waits.
    """

    def __init__(self, name: str, worker: DiskWorker) -> None:
        self._name = name
        self._worker = worker
        self._keys = itertools.count()
        self._waiting: BoundedTable[int, None] = BoundedTable(WAITING_MOST, WAITING_SHARE, WhenFull.REFUSE)
        self._bytes: BoundedTable[int, None] = BoundedTable(BYTES_MOST, BYTES_SHARE, WhenFull.REFUSE)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._began = 0.0  # monotonic; when it took what it does now, 0: it does nothing

    def start(self) -> None:
        """Start the thread if it does not run."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, args=(self._queue,), name=self._name, daemon=True)
            self._thread.start()

    def waits_s(self) -> float:
        """Return for how long the disk has not answered now, in seconds; 0 if nothing is asked of it."""
        began = self._began
        return time.monotonic() - began if began else 0.0

    async def run(self, subject: str, work: DiskWork[Result], settled: Settled | None = None) -> Result:
        """Have work done and return its result. Raises Busy if too much waits, and what the work raises.

        `settled` is called in the event loop with the result or the exception, also if this was cancelled meanwhile.
        """
        job = self._admit(subject, work, settled)
        self._queue.put(job)
        return cast("Result", await job.future)

    def post(self, subject: str, work: DiskWork[Any]) -> None:
        """Have work done behind all that waits of a subject, without an answer: for what gives back what was had."""
        self.start()
        self._queue.put(_Job(-1, subject, work, None))

    async def run_last(self, work: DiskWork[Result]) -> Result:
        """Have work done behind all that waits, and return its result: for what ends the work."""
        self.start()
        job = _Job(next(self._keys), None, work, None)
        self._queue.put(job)
        return cast("Result", await job.future)

    def close(self) -> None:
        """End the thread when it has done what waits."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread = None

    def _admit(self, subject: str, work: DiskWork[Any], settled: Settled | None) -> _Job:
        key = next(self._keys)
        if not self._waiting.add(key, None, subject).is_added:
            raise _refusal(self._waiting, subject, 1, "too much waits for the disk already, try again later")
        if work.size and not self._bytes.add(key, None, subject, size=work.size).is_added:
            self._waiting.remove(key)
            sentence = "too many bytes wait for the disk already, try again later"
            raise _refusal(self._bytes, subject, work.size, sentence)
        try:
            self.start()
        except BaseException:
            self._remove(key)
            raise
        return _Job(key, subject, work, settled)

    def _remove(self, key: int) -> None:
        self._waiting.remove(key)
        self._bytes.remove(key)

    # -- in the thread ----------------------------------------------------------------------------------------

    def _serve(self, queue: SimpleQueue[_Job | None]) -> None:
        name_thread(self._name.encode("ascii", "replace"))
        lines: DiskLines[_Job] = DiskLines()
        is_open = True
        while is_open or lines:
            while is_open and not (lines and queue.empty()):
                job = queue.get()
                if job is None:
                    is_open = False
                elif job.subject is None:
                    lines.add_last(job)
                else:
                    lines.add(job.subject, job, is_change=job.work.is_change, size=job.work.size)
            if lines:
                self._carry_out(lines.take())

    def _carry_out(self, jobs: list[_Job]) -> None:
        self._began = time.monotonic()
        try:
            outcomes = self._worker.carry_out([job.work for job in jobs])
            if len(outcomes) != len(jobs):
                raise RuntimeError(f"the disk thread's worker had {len(jobs)} things to do and did {len(outcomes)}")
        except BaseException as error:  # a bug of the worker must not end the thread: then all would wait for ever
            outcomes = [error for _ in jobs]
        self._began = 0.0
        for loop, settled in itertools.groupby(zip(jobs, outcomes, strict=True), key=lambda each: each[0].loop):
            try:
                loop.call_soon_threadsafe(self._settle, list(settled))
            except RuntimeError:
                continue  # that event loop has ended, and all who waited in it
        self._began = time.monotonic()
        try:
            self._worker.rest()
        except BaseException as error:  # as above
            with suppress(RuntimeError):
                jobs[0].loop.call_soon_threadsafe(_report, jobs[0].loop, "the rest for the disk failed", error)
        self._began = 0.0

    # -- in the event loop ------------------------------------------------------------------------------------

    def _settle(self, settled: list[tuple[_Job, object]]) -> None:
        for job, _ in settled:  # first of all: no room is lost whatever comes now
            self._remove(job.key)
        for job, outcome in settled:
            error = _as_error(outcome)
            if job.settled is not None:
                try:
                    job.settled(outcome if error is None else error)
                except BaseException as failure:
                    _report(job.loop, "what follows work for the disk failed", failure)
            if job.future.done():  # cancelled
                continue
            if error is None:
                job.future.set_result(outcome)
                continue
            job.future.set_exception(error)
            if job.key < 0:
                job.future.exception()  # no one awaits it: take it, or asyncio reports it as lost
