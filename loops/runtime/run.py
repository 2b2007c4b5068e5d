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
    task = loop.create_task(main)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if not task.done():
                log.error("a task raised %s, which ends nothing but itself", type(error).__name__, exc_info=error)
    task.result()
