"""Tells something at once, and then at most every so often as long as there is more. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tlsrt.errors import PeerError


class Throttle:
    """Calls `tell` when it is due; a PeerError of it means that this one is lost."""

    def __init__(self, every_s: float, tell: Callable[[], None]) -> None:
        self._every_s = every_s
        self._tell = tell
        self._not_before = 0.0  # the loop's time
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """There is something to tell."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._not_before), self._due)

    def _due(self) -> None:
        self._timer = None
        self._not_before = asyncio.get_running_loop().time() + self._every_s
        try:
            self._tell()
        except PeerError:
            return  # an authority that is busy or away misses it; whether it is there at all is found out elsewhere
