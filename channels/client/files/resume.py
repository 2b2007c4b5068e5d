"""Going on after a break: a step is repeated for as long as the whole makes progress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tlsrt.backoff import Backoff
from tlsrt.channels.calls.resumption import CAP_S, FIRST_S, passes
from tlsrt.errors import CallError, Unavailable

Result = TypeVar("Result")
LOOK_S = 0.5


class ResumeProgress:
    """How far a transfer is. `told` hears (bytes done, bytes in all) whenever that changes."""

    def __init__(self, told: Callable[[int, int], None] | None) -> None:
        self._told = told
        self.done = 0
        self.total = 0
        self.moved_at = 0.0  # the loop's time of the last byte

    def set(self, done: int, total: int) -> None:
        if done > self.done:
            self.moved_at = asyncio.get_running_loop().time()
        self.done, self.total = done, total
        if self._told is not None:
            self._told(done, total)


async def steadily(
    step: Callable[[], Awaitable[Result]], progress: ResumeProgress, patience_s: float, is_excused: Callable[[], bool]
) -> Result:
    """Run the step until it ends with a result or an error that will not pass.

    What passes (a lost connection, a restarting host) is tried again, with pauses, until no byte has moved for
    `patience_s`; a step that hangs for so long is ended too. Time in which `is_excused` does not count.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(FIRST_S, CAP_S)
    progress.moved_at = loop.time()
    while True:
        before = progress.moved_at
        try:
            return await _watched(step, progress, patience_s, is_excused)
        except CallError as error:
            if not passes(error) or loop.time() - progress.moved_at >= patience_s:
                raise
        if progress.moved_at > before:
            backoff.reset()
        await asyncio.sleep(backoff.pause())


async def _watched(
    step: Callable[[], Awaitable[Result]], progress: ResumeProgress, patience_s: float, is_excused: Callable[[], bool]
) -> Result:
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(step())
    try:
        while True:
            done, _ = await asyncio.wait((work,), timeout=LOOK_S)
            if done:
                return work.result()
            if is_excused():
                progress.moved_at = loop.time()
            if loop.time() - progress.moved_at >= patience_s:
                raise Unavailable(f"no byte has moved for {patience_s:g} s")
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
