"""Tasks of calls: what is done beside a request, for as long as a call. asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

GOODBYE_S = 2.0  # for a component, once the other side has hung up


class CallTasks:
    """All tasks, and which of them end with a call."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._all: set[asyncio.Task[Any]] = set()
        self._of_calls: dict[str, list[asyncio.Task[None]]] = {}
        self._last: dict[str, asyncio.Task[None]] = {}  # of the component that has answered, by call

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside the request: what hangs up goes on when the request is cancelled."""
        task = asyncio.get_running_loop().create_task(work)
        self._all.add(task)
        task.add_done_callback(self._has_done)
        return task

    def begin(self, call: str) -> None:
        """Let a call have tasks from now on."""
        self._of_calls[call] = []

    def run_in(self, call: str, *works: Coroutine[Any, Any, None]) -> None:
        """Do something until a call has ended."""
        self._of_calls[call] += map(self.run, works)

    def end_others(self, call: str) -> None:
        """End what belongs to a call, but for the task that asks for it."""
        current = asyncio.current_task()
        for task in self._of_calls[call]:
            if task is not current:
                task.cancel()
        self._of_calls[call] = [task for task in self._of_calls[call] if task is current]

    def let_end(self, call: str) -> None:
        """Have this task, of the component that has answered, end by itself with the call: it may say goodbye."""
        if (task := asyncio.current_task()) is not None:
            self._of_calls[call].remove(task)
            self._last[call] = task

    def end(self, call: str) -> None:
        """End what belongs to a call."""
        for task in self._of_calls.pop(call):
            task.cancel()
        if (last := self._last.pop(call, None)) is not None:
            asyncio.get_running_loop().call_later(GOODBYE_S, last.cancel)

    async def finish(self) -> None:
        """Wait until all have ended, but not for long."""
        if self._all:
            await asyncio.wait(self._all, timeout=2.0)

    def _has_done(self, task: asyncio.Task[None]) -> None:
        self._all.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("%s", error, exc_info=error)
