"""A component that writes down each execution, with the id of the call, before it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from chaotic.notes import Notes, monotonic_ms  # type: ignore[import-not-found]
from tlsrt import Component, handler


class Journal(Component):
    """What was executed shows in its file, even over its own death."""

    async def start(self) -> None:
        process, name = self.options["process"], self.address.partition("/")[2]
        self.notes = Notes(Path(str(self.options["folder"])) / f"journal-{process}-{name}.jsonl")

    async def stop(self) -> None:
        self.notes.close()

    def _ran(self, call: str) -> None:
        self.notes.write("run", call, monotonic_ms())

    @handler
    async def record(self, call: str) -> str:
        """Answer at once, without a task of its own."""
        self._ran(call)
        return call

    @handler
    async def ponder(self, call: str, wait_ms: int) -> str:
        """Answer after a while."""
        self._ran(call)
        await asyncio.sleep(wait_ms / 1000)
        return call

    @handler
    async def items(self, call: str, count: int, wait_ms: int) -> AsyncIterator[int]:
        """So many numbers, one after the other."""
        self._ran(call)
        for number in range(count):
            await asyncio.sleep(wait_ms / 1000)
            yield number
