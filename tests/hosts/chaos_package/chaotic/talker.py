"""Calls without an end: plain ones, ones that may be repeated, streams, and a store; each is written down twice.

The same for components and for clients outside, over whatever `Ways` they have. Lines of the notes:

    call ID KIND TARGET SENT DEADLINE [KEY VERSION]      before it is made, times in ms of CLOCK_MONOTONIC
    end ID OUTCOME ENDED [DETAIL]                        "ok", the word of a CallError, or "untyped"
    stall FROM TO                                        this process did not run meanwhile, so it could tell nobody
    tick NOW                                             it lives
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from chaotic.notes import Notes, monotonic_ms  # type: ignore[import-not-found]
from tlsrt.errors import CallError

TICK_S, STALL_MS = 0.05, 150
TICKS_PER_LINE = 10
STREAM_MS = 60_000  # a stream lives as long as it is renewed; so long is far more than ours need
ITEMS = 12
KEYS = 40


class Ways(Protocol):
    """How calls are made."""

    def call(
        self, target: str, method: str, args: tuple[Any, ...], timeout_s: float, key: str | None
    ) -> Coroutine[Any, Any, Any]: ...

    def stream(self, target: str, method: str, args: tuple[Any, ...], timeout_s: float) -> AsyncIterator[Any]: ...


class Talker:
    """One process's conversation. `journals` are addresses of Journals, `store` of a store or empty."""

    def __init__(
        self, name: str, notes: Notes, ways: Ways, journals: list[str], store: str, pause_s: float = 0.15
    ) -> None:
        self._name, self._notes, self._ways = name, notes, ways
        self._journals, self._store, self._pause_s = journals, store, pause_s
        self._random = random.Random(notes.life)
        self._number = 0
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, together: int) -> None:
        """Talk with so many calls under way at a time."""
        make = asyncio.get_running_loop().create_task
        self._tasks = [make(self._talk()) for _ in range(together)]
        if self._store:
            self._tasks.append(make(self._keep()))
        self._ticking = make(self._tick())

    async def end(self) -> None:
        """Begin no more calls and wait for those under way, which end at their deadlines at the latest."""
        self._ending = True
        await asyncio.gather(*self._tasks)
        self._ticking.cancel()

    async def drop(self) -> None:
        """End now, with all calls under way."""
        for task in (*self._tasks, self._ticking):
            task.cancel()
        await asyncio.gather(*self._tasks, self._ticking, return_exceptions=True)

    async def _tick(self) -> None:
        """Look whether this process runs: an answer that nobody could take is not late."""
        last, count = monotonic_ms(), 0
        while True:
            await asyncio.sleep(TICK_S)
            now = monotonic_ms()
            if now - last > STALL_MS:
                self._notes.write("stall", last, now)
            count += 1
            if count % TICKS_PER_LINE == 0:
                self._notes.write("tick", now)
            last = now

    async def _talk(self) -> None:
        while not self._ending:
            await self._one()
            await asyncio.sleep(self._random.uniform(0, 2 * self._pause_s))

    async def _one(self) -> None:
        draw, target = self._random.random(), self._random.choice(self._journals)
        timeout_s = self._random.choice((3.0, 5.0, 10.0))
        key = self._random.randbytes(12).hex() if self._random.random() < 0.4 else None
        kind = "keyed" if key else "plain"
        if draw < 0.45:
            await self._call(kind, target, "record", (), timeout_s, key)
        elif draw < 0.85:
            await self._call(kind, target, "ponder", (self._random.randrange(300),), timeout_s, key)
        else:
            await self._stream(target, timeout_s)

    def _begin(self, kind: str, target: str, lasts_ms: int, *more: object) -> str:
        self._number += 1
        call = f"{self._name}-{self._notes.life}-{self._number}"
        now = monotonic_ms()
        self._notes.write("call", call, kind, target, now, now + lasts_ms, *more)
        return call

    async def _outcome(self, call: str, work: Coroutine[Any, Any, Any], expected: object = None) -> bool:
        """Wait for the end of a call and write it down; return whether it was answered."""
        try:
            result = await work
        except CallError as error:
            self._notes.write("end", call, error.code, monotonic_ms(), str(error)[:120])
            return False
        except asyncio.CancelledError:
            self._notes.write("end", call, "dropped", monotonic_ms())  # by our own end, not by tlsrt
            raise
        except BaseException as error:
            self._notes.write("end", call, "untyped", monotonic_ms(), repr(error)[:200])
            return False
        if expected is not None and result != expected:
            self._notes.write("end", call, "wrong", monotonic_ms(), repr(result)[:200])
            return False
        self._notes.write("end", call, "ok", monotonic_ms(), result if isinstance(result, int) else None)
        return True

    async def _call(
        self, kind: str, target: str, method: str, args: tuple[Any, ...], timeout_s: float, key: str | None
    ) -> bool:
        call = self._begin(kind, target, int(timeout_s * 1000))
        return await self._outcome(call, self._ways.call(target, method, (call, *args), timeout_s, key), call)

    async def _stream(self, target: str, timeout_s: float) -> None:
        call = self._begin("stream", target, STREAM_MS)
        await self._outcome(call, self._all_items(target, call, timeout_s), list(range(ITEMS)))

    async def _all_items(self, target: str, call: str, timeout_s: float) -> list[Any]:
        args = (call, ITEMS, self._random.randrange(40))
        return [item async for item in self._ways.stream(target, "items", args, timeout_s)]

    async def _keep(self) -> None:
        """Write rising numbers under some keys and read them back: one writer a key, so the order is known."""
        version = 0
        while not self._ending:
            key = f"{self._name}-{self._notes.life}-{self._random.randrange(KEYS)}"
            version += 1
            call = self._begin("put", self._store, 5000, key, version)
            await self._outcome(call, self._put(key, version))
            key = f"{self._name}-{self._notes.life}-{self._random.randrange(KEYS)}"
            call = self._begin("get", self._store, 5000, key, 0)
            await self._outcome(call, self._ways.call(self._store, "get", (key,), 5.0, None))
            await asyncio.sleep(self._random.uniform(0, self._pause_s))

    async def _put(self, key: str, version: int) -> None:
        await self._ways.call(self._store, "put", (key, version), 5.0, None)
