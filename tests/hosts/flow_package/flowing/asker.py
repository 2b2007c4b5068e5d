"""Calls of every kind without a pause, each with what it came to: by a component, and the same for a client."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tlsrt import CallError, Component, Failed, handler

LEDGER = "secondary/ledger"
TIMEOUT_S = 8.0
ITEMS = 12
PART, PARTS = bytes(1000), 12
Record = tuple[str, str, float]  # name of the call, the word of its end ("ok" for a result), seconds


async def parts() -> AsyncIterator[bytes]:
    for _ in range(PARTS):
        yield PART
        await asyncio.sleep(0.001)


async def numbers() -> AsyncIterator[int]:
    for number in range(ITEMS):
        yield number
        await asyncio.sleep(0.001)


async def ask_once(port: Any, kind: str, name: str, keyed: dict[str, Any]) -> str:
    """Make one call and return its word; a result that is wrong is a word of its own."""
    hold_s = random.choice((0.0, 0.001, 0.004))
    try:
        if kind == "plain":
            right = await port.call(LEDGER, "run", name, hold_s, timeout_s=TIMEOUT_S) == name
        elif kind == "keyed":
            right = await port.call(LEDGER, "run", name, hold_s, timeout_s=TIMEOUT_S, **keyed) == name
        elif kind == "twice":
            right = await port.call(LEDGER, "run_twice", name, hold_s, timeout_s=TIMEOUT_S, **keyed) == name
        elif kind == "stream":
            got = [item async for item in port.stream(LEDGER, "count", name, ITEMS, timeout_s=TIMEOUT_S)]
            right = got == list(range(ITEMS))
        elif kind == "exchange":
            spoken = (bytes([65 + number]) * 1000 async for number in numbers())
            got = [item async for item in port.exchange(LEDGER, "lengths", spoken, name, timeout_s=TIMEOUT_S)]
            right = got == [1000] * ITEMS
        else:
            right = await port.upload(LEDGER, "sum", parts(), name, timeout_s=TIMEOUT_S) == len(PART) * PARTS
    except CallError as error:
        return error.code
    return "ok" if right else "wrong"


async def ask_on(
    port: Any, kind: str, label: str, key_of: Callable[[str], dict[str, Any]], is_over: Callable[[], bool],
    records: list[Record],
) -> None:  # fmt: skip
    """Make calls of one kind, one after the other, until it is over."""
    number = 0
    while not is_over():
        name = f"{label}.{kind}.{number}"
        number += 1
        start = time.monotonic()
        word = await ask_once(port, kind, name, key_of(name))
        records.append((name, word, time.monotonic() - start))
        if word != "ok":
            await asyncio.sleep(0.002)


def _where(task: asyncio.Task[None]) -> str:
    """Return where a task waits, innermost first."""
    waits: Any = task.get_coro()
    found: list[str] = []
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "ag_frame", None)
        if frame is not None:
            found.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        waits = getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None)
    return " < ".join(reversed(found))


def _keyed(name: str) -> dict[str, Any]:
    return {"idempotency_key": name}


class Asker(Component):
    """Asks as it is told, and keeps what came of it."""

    def __init__(self) -> None:
        self.over = True
        self.records: list[Record] = []
        self.tasks: list[asyncio.Task[None]] = []

    @handler
    async def begin(self, label: str, kinds: list[str], each: int) -> None:
        """Start so many askers of each kind."""
        await asyncio.sleep(0)
        self.over, self.records, self.tasks = False, [], []
        for kind in kinds:
            for number in range(each):
                work = ask_on(
                    self,
                    kind,
                    f"{label}{number}",
                    lambda name: {"idempotency_key": name},
                    lambda: self.over,
                    self.records,
                )
                self.tasks.append(asyncio.ensure_future(work))

    @handler
    async def done(self) -> int:
        """How many calls have ended."""
        return len(self.records)

    @handler
    async def end_in_parts(self) -> AsyncIterator[list[list[Any]]]:
        """Let the last calls end and tell of all: they may be more than fit into one answer."""
        self.over = True
        _, stuck = await asyncio.wait(self.tasks, timeout=5 * TIMEOUT_S)
        if stuck:  # say where, as nothing else will
            raise Failed("a call does not end: " + "; ".join(map(_where, stuck))[:900])
        records = [list(record) for record in self.records]
        for start in range(0, len(records), 1000):
            yield records[start : start + 1000]

    @handler
    async def listen(self) -> AsyncIterator[Any]:
        """What the ledger publishes, and the word of the end."""
        try:
            async for number in self.subscribe(LEDGER, "numbers"):
                yield number
        except CallError as error:
            yield error.code


class Flooder(Component):
    """Calls the ledger as fast as it can, without looking at what comes of it."""

    @handler
    async def flood(self, seconds: float, size: int) -> int:
        """How many calls ended."""
        data, end, ended = "x" * size, time.monotonic() + seconds, 0

        async def keep_calling() -> None:
            nonlocal ended
            while time.monotonic() < end:
                try:
                    await self.call(LEDGER, "measure", data, timeout_s=TIMEOUT_S)
                except CallError:
                    await asyncio.sleep(0.001)
                ended += 1

        await asyncio.gather(*(keep_calling() for _ in range(1500)))
        return ended
