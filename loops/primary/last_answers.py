"""Waits for the answers to the calls that are open when Primary begins to end. asyncio."""

from __future__ import annotations

import asyncio

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.loops.gate.open_calls import OpenCalls


class LastAnswers:
    """Looks at the end of each turn, once all was written, and costs nothing before."""

    def __init__(self, calls: OpenCalls, batch: WriteBatch) -> None:
        self._calls = calls
        self._batch = batch
        self._names: list[bytes] = []
        self._all_there = asyncio.Event()

    async def wait(self, end: float) -> None:
        """Wait until the calls that are open now are answered, or this time of the loop."""
        self._names = self._calls.unanswered()
        self._all_there.clear()
        with self._batch.watched(self.look):
            self.look()
            try:
                async with asyncio.timeout_at(end):
                    await self._all_there.wait()
            except TimeoutError:
                pass

    def look(self) -> None:
        """Look whether one is still open; to be called when calls have ended without an answer, too."""
        if not self._calls.is_one_open(self._names):
            self._all_there.set()
