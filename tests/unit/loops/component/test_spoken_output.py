"""Output by name: what comes by the pipes goes where the program's own output goes, until the run is over."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from tlsrt.channels.control.program_request import SPOKEN_MARK
from tlsrt.loops.component.spoken_output import SpokenOutput, first_words

MOST = 8192


class Run:
    """What a launcher gives its component, and the ends that the component has."""

    def __init__(self) -> None:
        self.data, self.their_data = socket.socketpair()
        self.errors, self.their_errors = socket.socketpair()
        self.readers = [os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for _ in range(2)]
        for one in (self.data, self.errors):
            one.setblocking(False)

    def say(self, mark: bytes = SPOKEN_MARK, count: int = 4) -> None:
        numbers = [reader for reader, _ in self.readers] + [self.their_data.fileno(), self.their_errors.fileno()]
        numbers = [os.dup(one) for one in numbers]  # other open files than those that the component gets
        socket.send_fds(self.their_errors, [mark], numbers[:count])
        for one in numbers:
            os.close(one)

    def leave(self) -> None:
        self.their_data.close()
        self.their_errors.close()

    def close(self) -> None:
        self.leave()
        self.data.close()
        self.errors.close()
        for number in (number for pair in self.readers for number in pair):
            os.close(number)


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    made.close()


def test_what_comes_by_a_pipe_goes_where_its_output_goes_and_ends_with_the_run(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[tuple[int, int]] = loop.create_future()
        run.say()
        begin, spoken = await first_words(run.errors, MOST)
        assert begin == b""
        assert spoken is not None
        spoken.begin(over)
        run.leave()
        os.write(run.readers[0][1], b"out")
        assert await loop.sock_recv(run.data, 64) == b"out"
        os.write(run.readers[1][1], b"why")
        over.set_result((0, 0))
        assert await loop.sock_recv(run.errors, 64) == b"why", "what was written before the end comes"
        assert (await loop.sock_recv(run.data, 64), await loop.sock_recv(run.errors, 64)) == (b"", b"")
        await spoken.close()

    asyncio.run(scenario())


def test_more_than_the_socket_takes_waits_and_its_mode_stays(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[tuple[int, int]] = loop.create_future()
        run.say()
        _, spoken = await first_words(run.errors, MOST)
        assert spoken is not None
        spoken.begin(over)
        writer, sent, got = run.readers[0][1], 0, 0
        while sent < 2 << 20:
            try:
                sent += os.write(writer, bytes(4096))
            except BlockingIOError:
                got += len(await loop.sock_recv(run.data, 1 << 16))
        assert run.their_data.getblocking(), "the program's own writes wait, as before"
        while got < sent:
            got += len(await loop.sock_recv(run.data, 1 << 16))
        await spoken.close()

    asyncio.run(scenario())


def test_an_early_close_keeps_nothing_open(run: Run) -> None:
    async def scenario() -> None:
        before = len(os.listdir("/proc/self/fd"))
        run.say()
        _, spoken = await first_words(run.errors, MOST)
        assert isinstance(spoken, SpokenOutput)
        spoken.begin(asyncio.get_running_loop().create_future())
        await spoken.close()
        await spoken.close()
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())


@pytest.mark.parametrize(("mark", "count"), [(SPOKEN_MARK, 1), (b"words", 4), (SPOKEN_MARK, 0)])
def test_other_words_are_words_and_their_descriptors_are_closed(run: Run, mark: bytes, count: int) -> None:
    async def scenario() -> None:
        before = len(os.listdir("/proc/self/fd"))
        run.say(mark, count)
        assert await first_words(run.errors, MOST) == (mark, None)
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())
