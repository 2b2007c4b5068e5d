"""A Caller and a Responder of real keys joined by a gate in one process, whose frames a test may lose."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.frame_sender import FakeChannel
from fakes.linked_components import ProcessorNotes
from fakes.memory_host import MemoryHost
from tlsrt import Component, handler
from tlsrt.budget import Budget, OverBudget
from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.config.components import ComponentConfig
from tlsrt.errors import (
    Busy,
    CallError,
    NotFound,
)
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.runtime.component_host import ComponentHost

CONSOLE, STORE = "third/console", "secondary/store"


class Store(Component):
    """Under test."""

    def __init__(self) -> None:
        self.calls = 0
        self.closed = 0
        self.produced = 0
        self.never = asyncio.Event()

    @handler
    async def get(self, key: str) -> str:
        self.calls += 1
        return f"{key} for {self.caller}"

    @handler
    async def put(self, how: str) -> int:
        self.calls += 1
        if how == "wait":
            await self.never.wait()
        if how == "bug":
            raise RuntimeError("a secret of the handler")
        if how == "full":
            raise OverBudget("too much waits for the disk already", Budget.DISK)
        if how == "error":
            raise NotFound("no such thing")
        return self.calls

    @handler
    async def many(self, count: int) -> AsyncIterator[int]:
        try:
            for number in range(count):
                self.produced += 1
                yield number
        finally:
            self.closed += 1

    @handler
    async def take(self, name: str, data: AsyncIterator[bytes]) -> int:
        return sum([len(part) async for part in data])


POLICY = {STORE: {}, CONSOLE: {STORE: ("*",)}, "forth/power": {}}


class Wired:
    """A console and a store joined by a gate."""

    def __init__(self) -> None:
        self.world = MemoryHost(policy=POLICY)
        self.notes = ProcessorNotes()
        self.sent: list[bytes] = []
        self.lost: set[FrameKind] = set()
        self.full = False
        self.started = time.monotonic()
        config = ComponentConfig("secondary", "store", "x:Store")
        self.store = Store()
        self.host = ComponentHost(
            config,
            self.store,
            self.world.verifier,
            FakeChannel(self.to_console),
            self.clock,
            Path("/nowhere"),
            ProcessorShares(WriteBatch(), self.notes),
            waiting_max=2,
        )
        self.host.endpoint = self.world.endpoints[STORE]
        self.host.responder._endpoint = self.host.responder._replies._endpoint = self.host.endpoint
        self.caller = Caller(self.world.endpoints[CONSOLE], self.to_store, self.clock, waiting_max=2)

    def clock(self) -> int:
        return self.world.now + int((time.monotonic() - self.started) * 1000)

    def to_store(self, frame: bytes) -> None:
        if self.full:
            raise Busy("full")
        self.sent.append(frame)
        header = self.world.header(frame)
        verdict = self.world.gate.check_untrusted(frame, self.world.origin(CONSOLE), self.clock())
        if verdict.passed and header.kind not in self.lost:
            self.host.on_frame_untrusted(parse_frame_untrusted(frame), header, self.world.now)
        elif verdict.answer:
            self.caller.pending.on_frame_untrusted(verdict.answer)

    def to_console(self, frame: bytes) -> None:
        header = parse_header_untrusted(parse_frame_untrusted(frame).header)
        if header.kind in self.lost:
            return
        if self.world.gate.check_untrusted(frame, self.world.origin(STORE), self.clock()).passed:
            self.caller.pending.on_frame_untrusted(frame)

    async def call(self, method: str, *args: object, **options: Any) -> Any:
        return await self.caller.call(STORE, method, args, **options)


def run(test: Callable[[Wired], Awaitable[None]]) -> Wired:
    async def main() -> Wired:
        wired = Wired()
        async with asyncio.timeout(10):
            await test(wired)
        assert not wired.caller.pending.by_number, "a call stayed open"
        return wired

    return asyncio.run(main())


async def fails(kind: type[CallError], work: Awaitable[object]) -> CallError:
    with pytest.raises(kind) as caught:
        await work
    return caught.value
