"""Threads of a process that components asked for: `Component.work`, and the event loop's default executor.

There are as many as `threads` under `needs` says, they start when there is work for them, and they are named
`tlsrt-work-1` and so on, for `status` and for tools of the host. What waits for one is bounded, in all and by a share
for each subject: one more is refused as `busy`.

A thread cannot be stopped. A call that is cancelled, or takes more than its `timeout_s`, gives its work up: the thread
goes on until the function returns, and is counted meanwhile. So functions that may take long should look now and then
whether they still have to go on.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.errors import Busy, DeadlineExceeded
from tlsrt.loops.component.work import WorkCount
from tlsrt.loops.runtime.thread_guard import guard_threads
from tlsrt.sandbox.syscalls import name_thread

WAITING_EACH = 16  # for each thread, of all subjects
NAME = "tlsrt-work"


class _Given:
    """One function that was given to the threads."""

    __slots__ = ("is_given_up", "is_void", "key", "name")

    def __init__(self, key: int, function: Callable[..., Any]) -> None:
        self.key = key
        self.name = str(getattr(function, "__qualname__", type(function).__name__))
        self.is_given_up = False  # no one waits for its result
        self.is_void = False  # it was refused after all


class WorkThreads(ThreadPoolExecutor):
    """The threads of one process. Also an executor, with the same bounds, as asyncio's default one has to be."""

    def __init__(self, threads: int, log: logging.Logger) -> None:
        super().__init__(threads, NAME, self._begin)
        self.threads = threads
        self._log = log
        self._numbers = itertools.count(1)
        self._keys = itertools.count()
        self._lock = threading.Lock()
        most = WAITING_EACH * threads
        self._waiting: BoundedTable[int, None] = BoundedTable(most, max(most // 2, 1), WhenFull.REFUSE)
        self._running: set[_Given] = set()

    def counted(self) -> WorkCount:
        """Return what there is to do now."""
        with self._lock:
            given_up = sum(given.is_given_up for given in self._running)
            return WorkCount(len(self._running), len(self._waiting), given_up)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Take a function for a thread. Raises Busy. concurrent.futures.Executor."""
        return self._give("", fn, lambda: fn(*args, **kwargs))[1]

    async def run(
        self, subject: str, function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object],
        timeout_s: float | None,
    ) -> Any:  # fmt: skip
        """Run a function in a thread and return its result. Raises Busy, DeadlineExceeded, and what it raises."""
        context = contextvars.copy_context()
        given, future = self._give(subject, function, lambda: context.run(function, *args, **kwargs))
        result = asyncio.wrap_future(future)
        try:
            await asyncio.wait({result}, timeout=timeout_s)
        except asyncio.CancelledError:
            self._give_up(given, future, "its call was cancelled")
            if not result.cancel() and not result.cancelled():
                result.exception()  # no one awaits it: take it, or asyncio reports it as lost
            raise
        if not result.done():
            self._give_up(given, future, f"it took more than {timeout_s:g} s")
            result.cancel()
            raise DeadlineExceeded(f"{given.name} did not end within {timeout_s:g} s")
        return result.result()

    def _give(self, subject: str, function: Callable[..., Any], call: Callable[[], Any]) -> tuple[_Given, Future[Any]]:
        given = _Given(next(self._keys), function)
        with self._lock:
            share = None if subject else self._waiting.most  # what the component does of its own accord
            if not self._waiting.add(given.key, None, subject, share=share).is_added:
                raise Busy(f"too much waits for the {self.threads} threads already, try again later")
        try:
            future = super().submit(self._work, given, call)
        except BaseException:
            given.is_void = True  # it is in the queue all the same, where another thread would take it
            self._forget(given)
            raise
        future.add_done_callback(lambda ended: self._forget(given) if ended.cancelled() else None)
        return given, future

    def _forget(self, given: _Given) -> None:
        with self._lock:
            self._waiting.remove(given.key)

    def _give_up(self, given: _Given, future: Future[Any], why: str) -> None:
        if future.cancel() or future.done():
            return  # it had not begun, or has just ended
        given.is_given_up = True
        self._log.warning(
            "%s goes on in its thread, though %s: a thread cannot be stopped (%d of %d threads do so)",
            given.name, why, max(self.counted().given_up, 1), self.threads,
        )  # fmt: skip

    # -- in a thread ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        name = f"{NAME}-{next(self._numbers)}"
        threading.current_thread().name = name
        name_thread(name.encode())

    def _work(self, given: _Given, call: Callable[[], Any]) -> Any:
        with self._lock:
            self._waiting.remove(given.key)
            if given.is_void:
                return None
            self._running.add(given)
        try:
            return call()
        except Exception as error:
            if given.is_given_up:
                self._log.warning("%s, which was given up, has failed", given.name, exc_info=error)
            if isinstance(error, StopIteration):  # no future may hold it
                raise RuntimeError(f"{given.name} raised StopIteration") from error
            raise
        except BaseException as error:  # it would end the event loop of who awaits it
            raise RuntimeError(f"{given.name} raised {type(error).__name__}") from error
        finally:
            with self._lock:
                self._running.discard(given)


class AskedThreads:
    """What a process makes of the threads that its components asked for; 0: none has."""

    def __init__(self, threads: int, log: logging.Logger) -> None:
        self._threads = threads
        self.work = WorkThreads(threads, log) if threads else None
        self._told = WorkCount(0, 0, 0)

    def prepare(self, loop: asyncio.AbstractEventLoop, addresses: str, *, is_known: bool) -> None:
        """After the seal: say of whom a refused thread was. `is_known`: nothing else lets this process make threads."""
        guard_threads(addresses, self._threads if is_known else None)
        if self.work is not None:
            loop.set_default_executor(self.work)

    def next_report(self) -> WorkCount | None:
        """Return what there is to do if that is news."""
        if self.work is None or (counted := self.work.counted()) == self._told:
            return None
        return counted

    def told(self, counted: WorkCount) -> None:
        """Take note of a report that was sent."""
        self._told = counted
