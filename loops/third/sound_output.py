"""One output: what plays, what waits for its turn, and its stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tlsrt import Busy

WAITING = 8  # of all
WAITING_SHARE = 2  # of one caller


class Playing:
    """One sound that plays."""

    def __init__(self, caller: str) -> None:
        self.caller = caller
        self.stopped_by = ""
        self._is_stopped = asyncio.Event()

    def stop(self, caller: str) -> None:
        """Have it end."""
        self.stopped_by = caller
        self._is_stopped.set()

    async def unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work until it is done or this is stopped, whichever comes first."""
        both = [asyncio.ensure_future(work), asyncio.ensure_future(self._is_stopped.wait())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if both[0].done():
                both[0].result()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)  # its program has ended then, and the output is free


class SoundOutput:
    """An output with all who want to play on it, one after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.playing: Playing | None = None
        self.played = 0
        self._turn = asyncio.Lock()
        self._waiting: list[str] = []

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[Playing]:
        """Wait for the output, and have it as long as the block. Raises Busy if too many wait."""
        if len(self._waiting) >= WAITING or self._waiting.count(caller) >= WAITING_SHARE:
            raise Busy(f"{WAITING_SHARE} sounds of one caller wait for {self.name}, or {WAITING} of all: try later")
        self._waiting.append(caller)
        try:
            await self._turn.acquire()
        finally:
            self._waiting.remove(caller)
        try:
            self.playing = Playing(caller)
            yield self.playing
            self.played += 1
        finally:
            self.playing = None
            self._turn.release()

    def shown(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "name": self.name, "kind": "output", "playing": self.playing.caller if self.playing is not None else None,
            "waiting": len(self._waiting), "played": self.played,
        }  # fmt: skip
