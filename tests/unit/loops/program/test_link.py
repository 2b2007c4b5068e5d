"""A link to a program over a real pair of sockets: concurrency, cancellation, the end of the program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tlsrt.errors import Failed, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.program.conversation import ConversationEnded
from tlsrt.loops.program.json_rpc import Notification
from tlsrt.loops.program.link import Link

Scene = Callable[[Link, "Peer", asyncio.Task[None]], Coroutine[Any, Any, None]]


class Peer:
    """The program's end."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._rest = b""

    async def request(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            piece = await asyncio.get_running_loop().sock_recv(self.end, 1 << 16)
            assert piece
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(text)
        return found

    async def say(self, **members: Any) -> None:
        text = json.dumps({"jsonrpc": "2.0", **members}) + "\n"
        await asyncio.get_running_loop().sock_sendall(self.end, text.encode())


class Recorder:
    def __init__(self) -> None:
        self.told: asyncio.Queue[Notification] = asyncio.Queue()

    def heard_untrusted(self, notification: Notification) -> str:
        self.told.put_nowait(notification)
        return ""


@asynccontextmanager
async def linked(heard: Recorder | None = None) -> AsyncIterator[tuple[Link, Peer, asyncio.Task[None]]]:
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    link = Link(ours, heard or Recorder(), logging.getLogger("test"))
    running = asyncio.ensure_future(link.run())
    try:
        yield link, Peer(theirs), running
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConversationEnded):
            await running
        ours.close()
        theirs.close()


def run(scene: Scene) -> None:
    async def main() -> None:
        async with asyncio.timeout(10), linked() as parts:
            await scene(*parts)

    asyncio.run(main())


def test_many_calls_are_asked_at_once_and_answered_in_any_order() -> None:
    async def scene(link: Link, peer: Peer, running: asyncio.Task[None]) -> None:
        calls = [asyncio.ensure_future(link.call("boil", {"litres": litres})) for litres in range(50)]
        requests = [await peer.request() for _ in calls]
        for request in reversed(requests):
            await peer.say(id=request["id"], result=request["params"]["litres"] * 2)
        assert await asyncio.gather(*calls) == [2 * litres for litres in range(50)]

    run(scene)


def test_faults_become_the_errors_of_calls() -> None:
    async def scene(link: Link, peer: Peer, running: asyncio.Task[None]) -> None:
        for code, kind in ((-32602, InvalidArgument), (-32601, NotFound), (-32000, Failed), (7, Failed)):
            call = asyncio.ensure_future(link.call("boil", {}))
            await peer.say(id=(await peer.request())["id"], error={"code": code, "message": "too much\x1b[2J"})
            with pytest.raises(kind) as caught:
                await call
            assert str(caught.value).isprintable()

    run(scene)


def test_a_caller_that_gives_up_has_the_program_told() -> None:
    async def scene(link: Link, peer: Peer, running: asyncio.Task[None]) -> None:
        call = asyncio.ensure_future(link.call("boil", {}))
        number = (await peer.request())["id"]
        call.cancel()
        assert await peer.request() == {"jsonrpc": "2.0", "method": "cancel", "params": {"id": number}}
        await peer.say(id=number, result=1)
        other = asyncio.ensure_future(link.call("boil", {}))
        await peer.say(id=(await peer.request())["id"], result=2)
        assert await other == 2

    run(scene)


def test_no_half_line_is_left_by_one_that_gives_up_while_it_is_written() -> None:
    async def scene(link: Link, peer: Peer, running: asyncio.Task[None]) -> None:
        large = [asyncio.ensure_future(link.call("boil", {"text": "x" * 200_000})) for _ in range(4)]
        while not peer._rest:  # the first bytes are there, and the rest does not fit
            peer._rest = await asyncio.get_running_loop().sock_recv(peer.end, 100)
        for call in large:
            call.cancel()
        await asyncio.wait(large)
        other = asyncio.ensure_future(link.call("simmer", {}))
        seen = []
        while (request := await peer.request())["method"] != "simmer":
            seen.append(request["method"])
        assert "boil" in seen
        await peer.say(id=request["id"], result="done")
        assert await other == "done"

    run(scene)


def test_the_end_of_the_program_in_the_middle_of_calls_leaves_none_waiting() -> None:
    async def scene(link: Link, peer: Peer, running: asyncio.Task[None]) -> None:
        calls = [asyncio.ensure_future(link.call("boil", {})) for _ in range(8)]
        await peer.request()
        peer.end.close()
        for found in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(found, Unavailable)
        await running
        with pytest.raises(Unavailable):
            await link.call("boil", {})

    run(scene)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (b"x" * 300_000, "too long"),
        (b"junk\n" * 30, "makes no sense"),
        (b'{"jsonrpc":"2.0","id":5,"result":1}\n' * 30, "was not made"),
    ],
)
def test_what_a_captured_program_writes_ends_its_run_and_no_more(written: bytes, why: str) -> None:
    async def scene(link: Link, peer: Peer, running: asyncio.Task[None]) -> None:
        call = asyncio.ensure_future(link.call("boil", {}))
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(peer.end, written)
        with pytest.raises(ConversationEnded, match=why):
            await running
        with pytest.raises(Unavailable):
            await call

    run(scene)


def test_notifications_are_heard_and_a_flood_of_them_makes_the_program_wait() -> None:
    heard = Recorder()

    async def main() -> None:
        async with asyncio.timeout(10), linked(heard) as (_, peer, _):
            await peer.say(method="event", params={"topic": "boiled"})
            assert await heard.told.get() == Notification("event", {"topic": "boiled"})
            flood = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(
                peer.end, b'{"jsonrpc":"2.0","method":"event"}\n' * 100_000
            ))  # fmt: skip
            for _ in range(1000):
                await heard.told.get()
            assert not flood.done()
            flood.cancel()

    asyncio.run(main())
