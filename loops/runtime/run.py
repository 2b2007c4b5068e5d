"""The run of a loop's event loop: nothing that a component's tasks raise ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any


def run_to_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None], log: logging.Logger) -> None:
    """Run until `main` has ended.

    asyncio hands on what a task or callback raises to the code that looks at it, but SystemExit and KeyboardInterrupt
    end the loop as well, where a component's task called sys.exit. What else is due waits in the loop and goes on.
    """
    loop.set_exception_handler(lambda _, context: _report(context, log))
    task = loop.create_task(main)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if not task.done():
                log.error("a task raised %s, which ends nothing but itself", type(error).__name__, exc_info=error)
    task.result()


def _report(context: dict[str, Any], log: logging.Logger) -> None:
    """Log what asyncio found out: a callback that raised, or a task that has died and that no code awaited."""
    error = context.get("exception")
    task = context.get("task") or context.get("future")
    if isinstance(task, asyncio.Task) and error is not None:
        work = getattr(task.get_coro(), "__qualname__", "?")
        log.error(
            "task %s (%s) has died, and no code awaited it: self.spawn() starts such a task again",
            task.get_name(), work, exc_info=error,
        )  # fmt: skip
    else:
        log.error("%s", context.get("message", "asyncio reported an error"), exc_info=error)
