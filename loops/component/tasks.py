"""Tasks of a component that are linked to it: what ends is started again, and what ends too often ends the component.

`self.spawn(self.pump)` runs `pump` until the component stops. An exception of it, or its return, is logged with its
name, and it is started again after a pause (full jitter, see backoff.py), at most 5 times in 60 s; then the component
has failed, its process ends with a sentence, and the supervisor starts it again by its own rules. So nothing that a
component does in the background is silently dead.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from tlsrt.backoff import Backoff
from tlsrt.errors import Busy, MisuseError

RESTARTS = 5
WINDOW_S = 60.0
FIRST_S, CAP_S = 0.2, 5.0  # pauses before a restart
TASKS_MAX = 256  # of one component
STOP_S = 2.0  # for cancelled tasks to end

Work = Callable[[], Awaitable[object]]
Spawnable = Work | Coroutine[Any, Any, object]


class RestartBudget:
    """How often something may be started again: so many times in a window. Pure."""

    def __init__(self, restarts: int = RESTARTS, window_s: float = WINDOW_S) -> None:
        self._restarts = restarts
        self._window_s = window_s
        self._at: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Note a restart; False, and nothing noted, if there were as many in the window before `now`."""
        while self._at and self._at[0] <= now - self._window_s:
            self._at.popleft()
        if len(self._at) >= self._restarts:
            return False
        self._at.append(now)
        return True


class Failure(Protocol):
    """Ends the process of a component that cannot go on."""

    def fail(self, sentence: str) -> None: ...


class SpawnedTask:
    """A task that belongs to a component. Its `name` is in the log; `cancel` ends it for good."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.restarts = 0
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """End it, and start it no more."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """End it for good, and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def is_running(self) -> bool:
        """Tell whether it runs, or waits to be started again."""
        return self._task is not None and not self._task.done()

    def __repr__(self) -> str:
        return f"<SpawnedTask {self.name}>"


class Tasks:
    """The tasks of one component."""

    def __init__(self, log: logging.Logger, failure: Failure) -> None:
        self._log = log
        self._failure = failure
        self._running: dict[SpawnedTask, asyncio.Task[None]] = {}
        self.restarts = 0

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Spawnable, name: str, restart: bool) -> SpawnedTask:
        """Run `work`; see `Component.spawn`."""
        if len(self._running) >= TASKS_MAX:
            if inspect.iscoroutine(work):
                work.close()
            raise Busy(f"cannot spawn a task: {TASKS_MAX} of this component run already; end some")
        spawned = SpawnedTask(name or _name_of(work))
        if isinstance(work, Coroutine):
            run = self._once(spawned, work)
        elif callable(work):
            run = self._kept(spawned, work) if restart else self._once(spawned, work())
        else:
            raise MisuseError(f"cannot spawn {work!r}: give an async method, as in self.spawn(self.pump)")
        # a context of its own: it runs for no caller
        task = asyncio.get_running_loop().create_task(run, name=spawned.name, context=contextvars.Context())
        spawned._task = self._running[spawned] = task
        task.add_done_callback(lambda _: self._running.pop(spawned, None))
        return spawned

    async def stop(self, longest_s: float = STOP_S) -> None:
        """Cancel all tasks, and wait a moment for their ends."""
        tasks = set(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=longest_s)
            for task in left:
                self._log.warning("task %s does not end: it was cancelled %g s ago", task.get_name(), longest_s)

    async def _once(self, spawned: SpawnedTask, work: Awaitable[object]) -> None:
        try:
            await work
        except BaseException as error:
            if is_cancelled(error):
                raise
            if _is_asked_to_end():
                self._log_end(spawned, error)
                return
            self._fail(spawned, f"task {spawned.name} has ended with {_words_of(error)}", error)

    async def _kept(self, spawned: SpawnedTask, work: Work) -> None:
        now = asyncio.get_running_loop().time
        budget, backoff = RestartBudget(), Backoff(FIRST_S, CAP_S)
        while True:
            began, cause = now(), None
            try:
                await work()
            except BaseException as error:
                if is_cancelled(error):
                    raise
                cause = error
            if _is_asked_to_end():  # and it has answered by its return, or by another exception
                if cause is not None:
                    self._log_end(spawned, cause)
                return
            if now() - began >= WINDOW_S:
                backoff.reset()
            how = "has returned" if cause is None else f"has ended with {_words_of(cause)}"
            if not budget.take(now()):
                often = f"more than {RESTARTS} times in {WINDOW_S:g} s"
                self._fail(spawned, f"task {spawned.name} {how}, {often}", cause)
                return
            pause = backoff.pause()
            self._log.warning("task %s %s; it starts again in %.1f s", spawned.name, how, pause, exc_info=cause)
            spawned.restarts += 1
            self.restarts += 1
            await asyncio.sleep(pause)

    def _log_end(self, spawned: SpawnedTask, error: BaseException) -> None:
        self._log.warning("task %s was cancelled and raised %s", spawned.name, _words_of(error), exc_info=error)

    def _fail(self, spawned: SpawnedTask, sentence: str, cause: BaseException | None) -> None:
        self._log.error("%s", sentence, exc_info=cause)
        self._failure.fail(sentence)


def is_cancelled(error: BaseException) -> bool:
    """Whether this task itself is asked to end. A CancelledError that leaks from elsewhere is an end like any other."""
    return (isinstance(error, asyncio.CancelledError) and _is_asked_to_end()) or isinstance(error, GeneratorExit)


def _is_asked_to_end() -> bool:
    """Whether this task is asked to end, whatever it makes of that."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _name_of(work: object) -> str:
    name = getattr(getattr(work, "func", work), "__qualname__", type(work).__name__)
    return str(name).rpartition(".")[2]


def _words_of(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception:  # its own text fails
        return type(error).__name__
