"""How this host is, for clients: what `tlsrt-supervisor status --json` says, read by a right to the runtime.

The supervisor makes one document for all who ask within a second, so callers cost it no more than one reader does.

Of the last hour and day numbers are kept (status_history.py). A sample is taken on a turn on which this process wakes
up anyway: when it is asked for its health.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from tlsrt import BoundedTable, Busy, CallError, Component, Failed, Range, WhenFull, handler
from tlsrt.loops.sampling.number_history import Span
from tlsrt.loops.sampling.procfs import awake_s
from tlsrt.loops.third.status_history import StatusHistory

FRESH_S = 1.0  # so long one document is given to all: the runtime answers 2 a second in the long run
DOCUMENT_BYTES = 224 * 1024  # what fits into an answer; some 120 processes
FOLLOWERS, FOLLOWERS_SHARE = 16, 4  # of all and of one caller

Interval = Annotated[float, Range(FRESH_S, 3600)]


class Status(Component):
    """How the host and its processes are, as `tlsrt-supervisor status` says it."""

    class Options:
        """There are none."""

    async def start(self) -> None:
        self._followers: BoundedTable[object, None] = BoundedTable(FOLLOWERS, FOLLOWERS_SHARE, WhenFull.REFUSE)
        self._lock = asyncio.Lock()
        self._document: dict[str, Any] = {}
        self._policy: dict[str, Any] = {}
        self._read_at = -FRESH_S
        self._history = StatusHistory()
        self._sampling: asyncio.Task[None] | None = None

    def healthy(self) -> None:
        """Begin a sample if it is time for one, and wait for nothing."""
        if (self._sampling is None or self._sampling.done()) and self._history.is_due(awake_s()):
            self._sampling = asyncio.create_task(self._sample())

    async def _sample(self) -> None:
        with suppress(CallError):  # a gap
            self._history.take(await self._fresh(), awake_s())

    @handler(idempotent=True)
    async def show(self) -> dict[str, Any]:
        """The status, at most a second old: processes with health, sandbox, waivers and last death, lock, warnings."""
        return await self._fresh()

    @handler(idempotent=True)
    async def policy(self) -> dict[str, Any]:
        """Who may call whom by the configuration: `lines` of who, whom and methods, each may have `*` for all.

        What enrolled clients may call beside it is kept by the authority: `tlsrt-supervisor client list`.
        """
        await self._fresh()
        return self._policy

    @handler(idempotent=True)
    async def watch(self, interval_s: Interval = 2.0) -> AsyncIterator[dict[str, Any]]:
        """The status now, and each `interval_s` again. `busy` beyond 4 streams of a caller and 16 of all."""
        key = object()
        if not self._followers.add(key, None, self.caller).is_added:
            raise Busy("the status is followed too often: at most 4 streams of a caller and 16 of all")
        try:
            while True:
                yield await self._fresh()
                await asyncio.sleep(interval_s)
        finally:
            self._followers.remove(key)

    @handler(idempotent=True)
    async def history(self, span: Span = "hour") -> dict[str, Any]:
        """Numbers of the last hour (of each 10 s) or day (of each 5 min), since this service runs; gaps are left out.

        `ages_s`: how long ago each bucket began. `series`: of each the lists `least`, `most` and `mean` beside these:
        frames and refused ones (per s), memory (bytes), lateness (ms, of the worst process), active (processes).
        """
        return self._history.told(span, awake_s())

    async def _fresh(self) -> dict[str, Any]:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= FRESH_S:
                self._document = await self._read()
                self._policy = self._document.pop("policy")
                self._read_at = now
            return self._document

    async def _read(self) -> dict[str, Any]:
        file = await self.runtime.status_file()
        try:
            if file.size > DOCUMENT_BYTES:
                raise Failed("the status of so many processes is too long for an answer: ask on the host itself")
            document: dict[str, Any] = json.loads(file.read(DOCUMENT_BYTES, 0))
        finally:
            file.close()
        return document
