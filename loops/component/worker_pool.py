"""The processes of one worker: begun when they are called, unloaded when they are idle, begun anew when they died.

Each answers one call at a time, so a call that ends its process takes no other one with it. Who calls waits for a
process that is free; more are begun while calls wait, up to `at_once`. One that cannot be loaded is tried again after
a pause, which doubles. asyncio.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from tlsrt.errors import Busy, CallError, ProgramError, TlsrtError, Unavailable
from tlsrt.loops.component.metrics import Metrics
from tlsrt.loops.component.program import Program, ProgramRunner
from tlsrt.loops.component.worker_process import WorkerProcess

WAITING_MOST = 64  # calls; one more is Busy
LOAD_MOST_S = 300.0
PAUSE_LEAST_S, PAUSE_MOST_S = 1.0, 30.0  # after one that could not be loaded


class WorkerLimits(NamedTuple):
    """What the configuration says of a worker that its component has to keep."""

    at_once: int  # processes
    call_s: float


class WorkerRunner(ProgramRunner, Protocol):
    """What has workers run for one component."""

    def worker(self, name: str) -> WorkerLimits:
        """Return the limits of a worker. Raises MisuseError for what is none."""


class WorkerPool:
    """Begins processes and lends each to one call."""

    def __init__(
        self, name: str, runner: WorkerRunner, idle_s: float | None, log: logging.Logger, metrics: Metrics,
        cancel_s: float | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self._runner = runner
        self._idle_s = idle_s
        self._cancel_s = cancel_s  # for a call that is not wanted any more; None: until its deadline
        self._log = log
        self._metrics = metrics
        self._figure = f"worker.{name.replace('-', '_').lower()}"
        self._limits: WorkerLimits | None = None
        self._all: set[WorkerProcess] = set()
        self._free: list[WorkerProcess] = []  # the one that was used last is used next
        self._loading = 0
        self._waiting: deque[asyncio.Future[WorkerProcess]] = deque()
        self._unloads: dict[WorkerProcess, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause_s = 0.0
        self._not_before = 0.0
        self._why = ""  # it could not be loaded
        self._is_closed = False

    @property
    def limits(self) -> WorkerLimits:
        """Return its limits. Raises MisuseError for a worker that is not declared."""
        if self._limits is None:
            self._limits = self._runner.worker(self.name)
        return self._limits

    def warm(self) -> None:
        """Begin one process now, if there is none."""
        if not self._all and self.limits:
            self._begin_one()

    async def lend(self) -> WorkerProcess:
        """Return a process that is loaded, for one call; `give_back` or `discard` must follow.

        Raises Unavailable if none can be loaded, Busy if too many calls wait.
        """
        most = self.limits.at_once
        while self._free:
            process = self._free.pop()
            self._unloads.pop(process).cancel()
            if process.is_idle:
                return process
            self.discard(process)
        loop = asyncio.get_running_loop()
        if self._is_closed:
            raise Unavailable(f"worker {self.name} has ended with its component")
        if not self._all and (left_s := self._not_before - loop.time()) > 0:
            raise Unavailable(f"{self._why}; tried again in {left_s:.0f} s")
        if len(self._waiting) >= WAITING_MOST:
            raise Busy(f"{WAITING_MOST} calls wait for the worker {self.name}")
        future: asyncio.Future[WorkerProcess] = loop.create_future()
        self._waiting.append(future)
        if len(self._all) < most and self._loading < len(self._waiting):
            self._begin_one()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())
            raise
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def give_back(self, process: WorkerProcess) -> None:
        """Take back a process that waits for its next call."""
        if not process.is_idle or self._is_closed:
            self.discard(process)
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(process)
                return
        self._free.append(process)
        process.watch(lambda: self._ended_idle(process))
        loop = asyncio.get_running_loop()
        delay_s = self._idle_s if self._idle_s is not None else 10 * 365 * 86400.0
        self._unloads[process] = loop.call_later(delay_s, self._unload, process)

    def settle(self, process: WorkerProcess, late: asyncio.TimerHandle) -> None:
        """Take back a process in the middle of a call that is not wanted any more, when the call has ended."""
        self._spawn(self._settle(process, late))

    async def _settle(self, process: WorkerProcess, late: asyncio.TimerHandle) -> None:
        try:
            async with asyncio.timeout(self._cancel_s):
                await process.settle()
        except TimeoutError:
            self._log.info("worker %s: ended, as its call was given up", self.name)
            self._metrics.count(f"{self._figure}.cancelled", 1)
            self.discard(process)
        except Exception as error:  # MemoryError as well, or it would be kept for ever
            self._log.warning("worker %s: %s", self.name, _words(error))
            self.discard(process)
        else:
            self.give_back(process)
        finally:
            late.cancel()

    def discard(self, process: WorkerProcess) -> None:
        """End a process of which nothing more is wanted."""
        self._spawn(self._end(process, orderly=False))

    async def close(self) -> None:
        """End all processes: the component stops."""
        self._is_closed = True
        for handle in self._unloads.values():
            handle.cancel()
        self._free.clear()
        for future in self._waiting:
            if not future.done():
                future.set_exception(Unavailable(f"worker {self.name} has ended with its component"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(process.close(orderly=False) for process in self._all), return_exceptions=True)
        self._all.clear()

    # -- one process

    def _begin_one(self) -> None:
        process = WorkerProcess(Program(self._runner, self.name, ()))
        self._all.add(process)
        self._loading += 1
        self._spawn(self._load(process))

    async def _load(self, process: WorkerProcess) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            with self._metrics.timer(f"{self._figure}.load"):
                async with asyncio.timeout(LOAD_MOST_S):
                    await process.load()
        except Exception as error:  # MemoryError as well: who waits is told
            await self._close(process, orderly=False)
            self._not_loaded(error)
            return
        finally:
            self._loading -= 1
        self._pause_s, self._why = 0.0, ""
        self._log.info("worker %s: loaded in %.2f s", self.name, loop.time() - began)
        self._show()
        self.give_back(process)

    def _not_loaded(self, error: Exception) -> None:
        """Tell who waits, if no other process may answer, and make a pause."""
        if isinstance(error, TimeoutError):
            error = Unavailable(f"worker {self.name} was not loaded in {LOAD_MOST_S:g} s")
        self._why = _words(error)
        if not isinstance(error, Busy):
            self._pause_s = min(PAUSE_MOST_S, max(PAUSE_LEAST_S, 2 * self._pause_s))
            self._not_before = asyncio.get_running_loop().time() + self._pause_s
            self._metrics.count(f"{self._figure}.not_loaded", 1)
        self._log.warning("%s", self._why)
        if self._all:
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                told = Busy(self._why) if isinstance(error, Busy) else Unavailable(self._why)
                future.set_exception(told)

    def _unload(self, process: WorkerProcess) -> None:
        if process in self._free:
            self._free.remove(process)
            del self._unloads[process]
            self._log.info("worker %s: unloaded, it was idle for %g s", self.name, self._idle_s)
            self._metrics.count(f"{self._figure}.unloaded", 1)
            self._spawn(self._end(process, orderly=True))

    def _ended_idle(self, process: WorkerProcess) -> None:
        if process in self._free:
            self._free.remove(process)
            self._unloads.pop(process).cancel()
            self._log.warning("worker %s: %s", self.name, process.last_words)
            self.discard(process)

    async def _end(self, process: WorkerProcess, *, orderly: bool) -> None:
        if process not in self._all:
            return
        if not orderly:
            self._metrics.count(f"{self._figure}.ended", 1)
        await self._close(process, orderly=orderly)
        has_room = len(self._all) < self.limits.at_once and not self._is_closed
        if has_room and self._loading < len(self._waiting):
            self._begin_one()  # for those who wait

    async def _close(self, process: WorkerProcess, *, orderly: bool) -> None:
        try:
            with suppress(CallError, ProgramError):
                await process.close(orderly=orderly)
        finally:
            self._all.discard(process)
            self._show()

    def _show(self) -> None:
        self._metrics.gauge(f"{self._figure}.running", len(self._all) - self._loading)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, TlsrtError) else f"{type(error).__name__}: {error}"
