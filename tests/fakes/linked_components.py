"""Two components in one process, joined by a real gate: everything but processes and sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fakes.frame_sender import FakeChannel
from fakes.memory_host import MemoryHost
from tlsrt import Component, handler
from tlsrt.budget import Budget
from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.config import key_schedule as keys
from tlsrt.config.components import ComponentConfig
from tlsrt.errors import Busy, NotFound, PeerError, Unavailable
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.dispatch.tracer import Tracer
from tlsrt.loops.runtime.component_host import ComponentHost

CONSOLE, STORE = "third/console", "secondary/store"
POLICY = {STORE: {CONSOLE: ("*",)}, CONSOLE: {STORE: ("*",)}}


class Store(Component):
    """Answers at once, late, or with an error."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.release = asyncio.Event()

    @handler
    async def get(self, key: str) -> str:
        self.calls[key] += 1
        if key.startswith("no"):
            raise NotFound(key)
        return f"{key} for {self.caller}"

    @handler
    async def wait(self, key: str) -> str:
        self.calls[key] += 1
        await self.release.wait()
        return key

    @handler
    async def fail(self, key: str) -> str:
        self.calls[key] += 1
        await asyncio.sleep(0)
        raise Unavailable("somebody else is away")

    @handler(idempotent=True)
    async def again(self, key: str) -> str:
        self.calls[key] += 1
        await self.release.wait()
        return key

    @handler
    async def swallow(self, data: AsyncIterator[bytes]) -> int:
        await self.release.wait()
        return sum([len(part) async for part in data])

    @handler
    async def echo(self, times: int, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in data:
            for _ in range(times):
                yield part

    @handler
    async def first(self, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in data:
            yield part
            return

    @handler
    async def ticks(self) -> AsyncIterator[int]:
        for number in itertools.count():
            yield number
            await asyncio.sleep(0)

    @handler
    async def back(self, key: str) -> str:
        result: str = await self.call(CONSOLE, "get", key)
        return result


class ProcessorNotes:
    """Takes note of who used more than its share, and of what could not be read when its turn came."""

    def __init__(self) -> None:
        self.over: list[bytes] = []
        self.others: list[tuple[bytes, Budget]] = []  # over another budget
        self.refused: list[str] = []

    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        if budget is Budget.PROCESSOR:
            self.over.append(session)
        else:
            self.others.append((session, budget))

    def on_refused_session(self, session: bytes, reason: str) -> None:
        self.refused.append(reason)


class LinkedComponents:
    """Two components with batchers, joined by a gate; frames wait in `wire` until the turn's end."""

    def __init__(
        self, component: Callable[[], Component] = Store, tracers: Mapping[str, Tracer] = MappingProxyType({})
    ) -> None:
        self._component = component
        self._tracers = tracers
        self.world = MemoryHost(policy=POLICY)
        self.turn = WriteBatch()
        self.reports = ProcessorNotes()
        self.shares = ProcessorShares(self.turn, self.reports)
        self.kinds: list[FrameKind] = []
        self.counts: list[int] = []
        self.full: set[str] = set()
        self.change: Callable[[bytes], bytes] = lambda frame: frame
        self.refused: list[str] = []
        self.hosts = {subject: self._host(subject) for subject in (STORE, CONSOLE)}

    def _host(self, subject: str) -> ComponentHost:
        loop, _, name = subject.partition("/")
        store = self._component() if subject == STORE else Store()
        world = self.world
        host = ComponentHost(
            ComponentConfig(loop, name, "x:Store"), store, world.verifier,
            FakeChannel(lambda frame: self.send(subject, frame)),
            lambda: world.now, Path("/nowhere"), self.shares, waiting_max=9, batch=self.turn,
            tracer=self._tracers.get(subject),
        )  # fmt: skip
        theirs = world.endpoints[subject]
        host.endpoint.session, host.endpoint.epoch = theirs.session, theirs.epoch
        host.endpoint._epochs = theirs._epochs
        return host

    @property
    def store(self) -> Any:
        return self.hosts[STORE].component

    def succeed(self, name: str = "successor") -> bytes:
        """Give the console another session in the same epoch, as the authority does; return its id."""
        world = self.world
        session = world.random(name, 16)
        endpoint = self.hosts[CONSOLE].endpoint
        endpoint.apply_session(
            world.epoch, session, 3, world.mailbox(CONSOLE), 1, keys.proof_key(world.gate_root(world.epoch), session),
            world.token(CONSOLE, session=session), world.now + 60_000, world.now + 8 * 3_600_000,
        )  # fmt: skip
        endpoint.apply_right(world.epoch, STORE, 2, keys.request_key(world.mailbox(STORE), session), ("*",))
        return session

    def restart(self) -> None:
        """Let the store be another one, of the next incarnation, with nothing in its memory."""
        world = self.world
        calls = self.store.calls
        world.incarnations["secondary"] += 1
        world.gate.set_loop("secondary", world.incarnations["secondary"], world.epoch)
        world.endpoints[STORE] = world.make_endpoint(STORE)
        self.hosts[STORE] = self._host(STORE)
        self.store.calls = calls
        key = keys.request_key(world.mailbox(STORE), self.hosts[CONSOLE].endpoint.session)
        self.hosts[CONSOLE].endpoint.apply_right(world.epoch, STORE, world.incarnations["secondary"], key, ("*",))

    def send(self, subject: str, frame: bytes) -> None:
        if subject in self.full:
            raise Busy("full")
        frame = self.change(frame)
        header = parse_header_untrusted(parse_frame_untrusted(frame).header)
        self.kinds.append(FrameKind(header.kind))
        self.counts.append(header.part if header.kind in (FrameKind.REQUESTS, FrameKind.REPLIES) else 1)
        verdict = self.world.gate.check_untrusted(frame, self.world.origin(subject), self.world.now)
        if verdict.passed:
            self.deliver(STORE if verdict.loop == "secondary" else CONSOLE, frame)
        elif verdict.answer:
            self.deliver(subject, verdict.answer)

    def deliver(self, subject: str, data: bytes) -> None:
        frame = parse_frame_untrusted(data)
        header = parse_header_untrusted(frame.header)
        asyncio.get_running_loop().call_soon(self.take, subject, frame, header)

    def take(self, subject: str, frame: Any, header: Any) -> None:
        self.turn.begin_turn()
        try:
            self.hosts[subject].on_frame_untrusted(frame, header, self.world.now)
        except PeerError as error:
            self.refused.append(error.reason)
        finally:
            self.turn.end()

    def call(self, method: str, *args: object, **options: Any) -> Awaitable[Any]:
        return self.hosts[CONSOLE].caller.call(STORE, method, args, **options)

    async def calls(self, method: str, *keys: str) -> list[Any]:
        return await asyncio.gather(*(self.call(method, key) for key in keys), return_exceptions=True)


def run(
    test: Callable[[LinkedComponents], Awaitable[None]], component: Callable[[], Component] = Store
) -> LinkedComponents:
    async def main() -> LinkedComponents:
        wired = LinkedComponents(component)
        async with asyncio.timeout(10):
            await test(wired)
            while wired.world.gate.calls.by_name:  # on a slow machine the last ends wait for their turn
                await asyncio.sleep(0)
        assert not any(host.caller.pending.by_number for host in wired.hosts.values()), "a call stayed open"
        assert not wired.world.gate.calls.by_name
        return wired

    return asyncio.run(main())
