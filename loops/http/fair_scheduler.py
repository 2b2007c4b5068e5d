"""Fair scheduler: heavy work of many clients, a piece at a time, others between two. asyncio.

A body of 256 KiB takes tens of milliseconds of Python to become values, or to be made of them. When many connections
have one ready at the same moment the event loop would do them all in one turn, without a heartbeat or a frame for any
other; that is how a client could have Primary taken for hung. So they stand in a line for each client, and one of each
line goes on after one of the next; what is small passes them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import TypeVar

SMALL_BYTES = 4096
SMALL_PARTS = 256
T = TypeVar("T")


class FairScheduler:
    """The lines; one object for an event loop."""

    def __init__(self) -> None:
        self._is_busy = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next one's first

    async def do(self, work: Callable[[], T], subject: str, *, is_small: bool) -> T:
        """Return what `work` returns, or raise what it raises. After heavy work others get as long as it took."""
        if is_small:
            return work()
        loop = asyncio.get_running_loop()
        if self._is_busy:
            await self._turn(subject)
        self._is_busy = True
        try:
            began = loop.time()
            try:
                return work()
            finally:
                await asyncio.sleep(loop.time() - began)
        finally:
            self._next()

    async def _turn(self, subject: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(subject, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():
                self._next()  # it was our turn
            raise

    def _next(self) -> None:
        """Wake the next one that waits; it is its turn from now on."""
        while self._waiting:
            subject, line = next(iter(self._waiting.items()))
            future = line.popleft()
            if line:
                self._waiting.move_to_end(subject)
            else:
                del self._waiting[subject]
            if not future.done():
                future.set_result(None)
                return
        self._is_busy = False


def is_small(value: object) -> bool:
    """Tell whether a value has few parts and short texts; looks at no more than SMALL_PARTS."""
    waiting, parts, size = [value], 0, 0
    while waiting:
        one = waiting.pop()
        parts += 1
        if isinstance(one, (str, bytes)):
            size += len(one)
        elif isinstance(one, (Mapping, list, tuple)):
            if len(one) > SMALL_PARTS:
                return False
            waiting += [*one.keys(), *one.values()] if isinstance(one, Mapping) else one
        if parts + len(waiting) > SMALL_PARTS or size > SMALL_BYTES:
            return False
    return True
