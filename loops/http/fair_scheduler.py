"""Fair scheduler: heavy work of many clients, a piece at a time, others between two. asyncio.

A body of 256 KiB takes tens of milliseconds of Python to become values, or to be made of them. When many connections
have one ready at the same moment the event loop would do them all in one turn, without a heartbeat or a frame for any
other; that is how a client could have Primary taken for hung. So they stand in a line; what is small passes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

SMALL_BYTES = 4096
SMALL_PARTS = 256
T = TypeVar("T")


class FairScheduler:
    """The line; one for an event loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def do(self, work: Callable[[], T], *, is_small: bool) -> T:
        """Return what `work` returns, or raise what it raises. After heavy work others get as long as it took."""
        if is_small:
            return work()
        loop = asyncio.get_running_loop()
        async with self._lock:
            began = loop.time()
            try:
                return work()
            finally:
                await asyncio.sleep(loop.time() - began)


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
