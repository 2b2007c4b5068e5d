"""What `make callgrind` counts of a call beside its gate: `call_work.py ALONE TOGETHER ANSWERED BUNDLES HOPS TURNS`.

Each case runs the modules of a host in one process, with the frames of the other side sealed before, the same every
time: two runs that differ in one number differ by the instructions of just that. User space only, no system call.

- ALONE calls, one after the other: `Caller.call`, sealing, opening the answer, and resuming who waits.
- TOGETHER rounds of GROUP calls in one turn: the first leaves alone, the others as one bundle.
- ANSWERED requests that come one by one: opening, the handler, sealing the answer.
- BUNDLES of GROUP requests.
- HOPS of one small frame through two links over a unix socket, there and back, with the turns of the event loop.
- TURNS of an event loop with a bare reader over a socket pair, there and back: what of a hop is not the link.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.gates import CONSOLE, NOW, STORE, TESTS
from tlsrt import Component, handler
from tlsrt.budget import Budget
from tlsrt.channels.event_loop import EventLoop
from tlsrt.channels.frames.body import encode_request, encode_value
from tlsrt.channels.frames.frame import FrameKind, correlation
from tlsrt.channels.links.link import SOCKET_NAME, Link
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.config.components import ComponentConfig
from tlsrt.loops.dispatch.fast_path import ReceiveFastPath
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.runtime.component_host import ComponentHost

if TYPE_CHECKING:
    from fakes.memory_host import MemoryHost

POLICY = {STORE: {CONSOLE: ("*",)}, CONSOLE: {STORE: ("*",)}}
BODY = b"x" * 64
GROUP, WARM, MOST = 32, 150, 300  # calls of a bundle; rounds before they are counted; and at most of each case
LATER = NOW + 30_000


class Echo(Component):
    """Answers at once with what it gets."""

    @handler
    async def echo(self, data: bytes) -> bytes:
        return data


class NoNotes:
    """Takes no note of who uses too much."""

    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        raise AssertionError(budget)

    def on_refused_session(self, session: bytes, reason: str) -> None:
        raise AssertionError(reason)


class Side:
    """A component of the bench in its host. What it sends is counted and goes to `on_sent`."""

    def __init__(self, world: MemoryHost, subject: str) -> None:
        loop, _, name = subject.partition("/")
        self.batch = WriteBatch()
        self.sent = 0
        self.on_sent: Callable[[], None] = lambda: None
        self.host = ComponentHost(
            ComponentConfig(loop, name, "x:Echo"), Echo(), world.verifier, self, lambda: NOW, Path("/nowhere"),
            ProcessorShares(self.batch, NoNotes()), waiting_max=9, batch=self.batch,
        )  # fmt: skip
        world.equip(self.host.endpoint)
        self._arrivals = ReceiveFastPath(world.verifier)
        self._arrivals.add(self.host)

    def send(self, frame: bytes) -> None:
        self.sent += 1
        self.on_sent()

    async def wait_for_room(self) -> None:
        raise AssertionError("there is always room")

    def take(self, frame: bytes) -> None:
        """Take a frame, as a link hands it on."""
        self.batch.begin_turn()
        try:
            host, opened = self._arrivals.open_untrusted(frame, NOW)
            host.on_opened_untrusted(opened)
        finally:
            self.batch.end()


class Calls:
    """A caller whose answers were sealed before: one for each call, or two for each group."""

    def __init__(self, world: MemoryHost, group: int) -> None:
        self._side = Side(world, CONSOLE)
        self._group = group
        self._answers = iter([frame for at in range(MOST + WARM) for frame in self._sealed(world, at * group + 1)])
        self._call = self._side.host.caller.call
        self._loop = asyncio.get_running_loop()
        self._side.on_sent = self._answer

    def _sealed(self, world: MemoryHost, first: int) -> list[bytes]:
        header = world.plain_header(CONSOLE, STORE, method="echo")
        seal, session = world.endpoints[STORE].seal_replies, world.session(CONSOLE)
        names = [correlation(session, first + at) for at in range(self._group)]
        alone = seal(header, names[:1], [encode_value(BODY)], LATER)
        rest = [encode_value(BODY)] * (self._group - 1)
        return [alone, seal(header, names[1:], rest, LATER)] if rest else [alone]

    def _answer(self) -> None:
        self._loop.call_soon(self._side.take, next(self._answers))

    async def run(self, rounds: int) -> None:
        for _ in range(rounds):
            if self._group == 1:
                assert await self._call(STORE, "echo", (BODY,)) == BODY
            else:
                found = await asyncio.gather(*(self._call(STORE, "echo", (BODY,)) for _ in range(self._group)))
                assert found == [BODY] * self._group


class Answers:
    """A component whose requests were sealed before."""

    def __init__(self, world: MemoryHost, group: int) -> None:
        self._side = Side(world, STORE)
        self._requests = iter([self._sealed(world, group) for _ in range(MOST + WARM)])

    def _sealed(self, world: MemoryHost, group: int) -> bytes:
        caller, body = world.endpoints[CONSOLE], encode_request((BODY,), {}, None)
        if group == 1:
            return caller.seal_request(FrameKind.REQUEST, STORE, "echo", body, LATER)[1]
        numbers = [caller.take_next_number() for _ in range(group)]
        taken = range(numbers[0], numbers[-1] + 1)
        return caller.seal_requests(taken, STORE, "echo", [body] * group, LATER, world.epoch, caller.session)

    async def run(self, rounds: int) -> None:
        before = self._side.sent
        for _ in range(rounds):
            self._side.take(next(self._requests))
        assert self._side.sent - before == rounds


class Hops:
    """A frame between two links of one event loop."""

    def __init__(self, frame: bytes, folder: str) -> None:
        self._frame = frame
        self._back: asyncio.Future[None] | None = None
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/{SOCKET_NAME}")
            listener.listen()
            self._far = Link(WriteBatch(), lambda frame: self._far.send(frame), _unexpected)
            self._far.listen(listener.fileno())
        self._near = Link(WriteBatch(), self._on_frame, _unexpected)
        self._near.connect(folder)

    def _on_frame(self, frame: bytes) -> None:
        assert self._back is not None
        self._back.set_result(None)

    async def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self._back = asyncio.get_running_loop().create_future()
            self._near.send(self._frame)
            await self._back

    def close(self) -> None:
        assert self._near.close() == self._far.close() == []


class Turns:
    """The same frame between two bare sockets of one event loop."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self._back: asyncio.Future[None] | None = None
        self._near, self._far = socket.socketpair()
        loop = asyncio.get_running_loop()
        for one, read in ((self._near, self._on_back), (self._far, self._on_there)):
            one.setblocking(False)
            loop.add_reader(one.fileno(), read)

    def _on_there(self) -> None:
        self._far.send(self._far.recv(4096))

    def _on_back(self) -> None:
        assert self._near.recv(4096) == self._frame
        assert self._back is not None
        self._back.set_result(None)

    async def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self._back = asyncio.get_running_loop().create_future()
            self._near.send(self._frame)
            await self._back

    def close(self) -> None:
        for one in (self._near, self._far):
            asyncio.get_running_loop().remove_reader(one.fileno())
            one.close()


def _unexpected(reason: str) -> None:
    raise AssertionError(reason)


async def work(counts: list[int]) -> None:
    """Make everything ready, let each case run warm, then run it as often as asked for."""
    from fakes.memory_host import MemoryHost

    def world() -> MemoryHost:
        return MemoryHost(now=NOW, policy=POLICY)

    frame = world().request(CONSOLE, STORE, body=BODY)
    with tempfile.TemporaryDirectory(prefix="tlsrt-bench-") as folder:
        hops, turns = Hops(frame, folder), Turns(frame)
        cases: list[Callable[[int], Awaitable[Any]]] = [
            Calls(world(), 1).run, Calls(world(), GROUP).run, Answers(world(), 1).run, Answers(world(), GROUP).run,
            hops.run, turns.run,
        ]  # fmt: skip
        for case in cases:
            await case(WARM)
        gc.collect()
        gc.disable()
        for case, count in zip(cases, counts, strict=True):
            await case(count)
        hops.close()
        turns.close()


if __name__ == "__main__":
    sys.path.append(str(TESTS))
    with asyncio.Runner(loop_factory=EventLoop) as runner:  # what a process of a host runs
        runner.run(work([int(text) for text in sys.argv[1:]]))
