"""Workers of a sealed component: one that cannot begin is told, and the end of the test ends all waiting."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from typing import Any

import pytest

from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.errors import Unavailable
from tlsrt.loops.component.program import Pipes
from tlsrt.loops.component.worker_pool import WorkerLimits
from tlsrt.testing.handed_workers import AskedWorkers, HandedWorkers

LOG = logging.getLogger("test")
LIMITS = {name: WorkerLimits(1, 5.0) for name in ("good", "bad")}


class Programs:
    """Begins what is called good; it never ends."""

    def __init__(self) -> None:
        self.theirs: list[socket.socket] = []

    async def begin(self, name: str) -> Pipes:
        if name != "good":
            raise OSError("too many processes")
        ours = []
        for _ in range(3):
            one, other = socket.socketpair()
            ours.append(one)
            self.theirs.append(other)
        over: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self.theirs[-1], over.set_result, (Outcome.CANCELLED, 0))
        return Pipes(1, ours[0], ours[1], ours[2], over)

    async def close(self) -> None:
        for one in self.theirs:
            asyncio.get_running_loop().remove_reader(one)
            one.close()


async def _one_that_cannot_begin() -> None:
    programs: Any = Programs()
    workers = HandedWorkers(programs)
    asked = AskedWorkers(os.dup(workers.theirs.fileno()), LIMITS, LOG)
    workers.theirs.close()
    async with asyncio.timeout(10):
        bad, good = asyncio.create_task(asked.begin("bad")), asyncio.create_task(asked.begin("good"))
        with pytest.raises(Unavailable, match="cannot begin a worker: too many processes"):
            await bad
        (await good).close()
        await workers.close()
    asked._socket.close()


async def _the_end_of_the_test() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = AskedWorkers(theirs.detach(), LIMITS, LOG)
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with asyncio.timeout(10):
        running = asyncio.create_task(asked.begin("good"))
        await asyncio.sleep(0)
        pairs = [socket.socketpair() for _ in range(3)]
        socket.send_fds(ours, [b'{"begun": 1}'], [one.fileno() for one, _ in pairs])
        pipes = await running
        given_up, waiting = asyncio.create_task(asked.begin("good")), asyncio.create_task(asked.begin("good"))
        await asyncio.sleep(0)
        given_up.cancel()
        with suppress(asyncio.CancelledError):
            await given_up
        ours.close()
        with pytest.raises(Unavailable, match="the test has ended"):
            await waiting
        assert await pipes.over == (Outcome.CANCELLED, 0)
    assert not problems
    pipes.close()
    for one, other in pairs:
        one.close()
        other.close()
    asked._socket.close()


def test_one_that_cannot_begin_is_told_to_who_asked_for_it() -> None:
    asyncio.run(_one_that_cannot_begin())


def test_the_end_of_the_test_ends_what_runs_and_what_waits() -> None:
    asyncio.run(_the_end_of_the_test())
