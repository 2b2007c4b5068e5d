"""A program that a component has run: no other caller is held up by it, and none waits on it after its end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest

from tlsrt.channels.control.program_request import encode_request
from tlsrt.errors import MisuseError
from tlsrt.loops.component.kept_program import KeptProgram
from tlsrt.loops.component.program import Pipes, Program


class OneRun:
    """Hands over one end of each socket; the test has the others."""

    def __init__(self) -> None:
        pairs = [socket.socketpair() for _ in range(3)]
        self.ours, self.theirs = [one for one, _ in pairs], [other for _, other in pairs]
        for one in (*self.ours, *self.theirs):
            one.setblocking(False)
        self.lines = 0

    async def begin(self, name: str) -> Pipes:
        data, errors, leash = self.ours
        return Pipes(1, data, errors, leash, asyncio.get_running_loop().create_future())

    def secrets(self, name: str) -> bytes:
        return b""

    def log(self, name: str, number: int, lines: Sequence[bytes]) -> None:
        self.lines += len(lines)

    def close(self) -> None:
        for one in self.theirs:
            one.close()

    def fill(self, one: socket.socket) -> int:
        """Write newlines while there is room."""
        written = 0
        with suppress(BlockingIOError):
            while True:
                written += one.send(b"\n" * 4096)
        return written


async def turns_until(done: asyncio.Event) -> int:
    """Count the turns of the event loop that others get."""
    turns = 0
    while not done.is_set():
        turns += 1
        await asyncio.sleep(0)
    return turns


def test_others_have_their_turn_while_standard_error_is_full() -> None:
    async def both() -> None:
        run = OneRun()
        async with Program(run, "p", []):
            written = run.fill(run.theirs[1])
            turn, most = 0, 0
            while turn < 10_000 and run.lines < written:
                before = run.lines
                await asyncio.sleep(0)
                turn, most = turn + 1, max(most, run.lines - before)
            assert run.lines == written > 3 * 8192
            assert most <= 8192
        run.close()

    asyncio.run(both())


@pytest.mark.parametrize("is_read", [True, False])
def test_others_have_their_turn_while_there_is_always_data_or_room(is_read: bool) -> None:
    async def both() -> None:
        run = OneRun()
        done = asyncio.Event()
        async with Program(run, "p", []) as program:
            run.theirs[0].recv(64)  # the request
            run.fill(run.theirs[0])
            others = asyncio.ensure_future(turns_until(done))
            await asyncio.sleep(0)
            for _ in range(8):
                await (program.read(1) if is_read else program.write(b"x"))
            done.set()
            assert await others >= 8
        run.close()

    asyncio.run(both())


@pytest.mark.parametrize("is_read", [True, False])
def test_who_waits_on_one_that_is_let_go_wakes_up_and_its_descriptor_is_free(is_read: bool) -> None:
    async def both() -> None:
        loop = asyncio.get_running_loop()
        run = OneRun()
        async with Program(run, "p", []) as program:
            number = run.ours[0].fileno()
            waiting = loop.create_task(program.read(1) if is_read else program.write(b"x" * (8 << 20)))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
        assert await asyncio.wait_for(waiting, 5) == (b"" if is_read else None)
        run.close()
        again, other = socket.socketpair()
        with again, other:
            again.setblocking(False)
            assert number in (again.fileno(), other.fileno())
            other.send(b"x")
            assert await loop.sock_recv(again, 1) == b"x"
            assert not loop.remove_reader(number) and not loop.remove_writer(number)

    asyncio.run(both())


def test_what_it_is_fed_is_written_while_its_output_is_read_and_then_its_input_ends() -> None:
    """A program that echoes: neither side could hold all of it."""

    async def both() -> None:
        loop, run, total = asyncio.get_running_loop(), OneRun(), 8 << 20

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield bytes(1 << 20)

        async def echo() -> None:
            await loop.sock_recv(run.theirs[0], len(encode_request([])))
            while piece := await loop.sock_recv(run.theirs[0], 1 << 16):
                await loop.sock_sendall(run.theirs[0], piece)
            run.theirs[0].shutdown(socket.SHUT_WR)

        async with Program(run, "p", []) as program:
            echoing = asyncio.ensure_future(echo())
            program.feed(parts())
            with pytest.raises(MisuseError, match="fed already"):
                program.feed(b"")
            assert len(await program.read()) == total
            await echoing
        run.close()

    asyncio.run(asyncio.wait_for(both(), 20))


def test_what_its_feed_raises_comes_out_at_the_end_of_its_output() -> None:
    async def both() -> None:
        loop, run = asyncio.get_running_loop(), OneRun()

        async def parts() -> AsyncIterator[bytes]:
            yield b"x"
            raise ValueError("half of it")

        async with Program(run, "p", []) as program:
            program.feed(parts())
            while await loop.sock_recv(run.theirs[0], 1 << 16):
                pass
            run.theirs[0].send(b"so far")
            run.theirs[0].shutdown(socket.SHUT_WR)
            assert await program.read(6) == b"so far"
            with pytest.raises(ValueError, match="half of it"):
                await program.read()
        run.close()

    asyncio.run(asyncio.wait_for(both(), 20))


def test_a_feed_that_waits_ends_with_the_block() -> None:
    async def both() -> None:
        run, asked, ended = OneRun(), asyncio.Event(), asyncio.Event()

        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b"x"
                asked.set()
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with Program(run, "p", []) as program:
            program.feed(parts())
            await asked.wait()
        assert ended.is_set()
        run.close()

    asyncio.run(asyncio.wait_for(both(), 20))


def test_a_task_that_is_cancelled_while_it_waits_is_cancelled() -> None:
    async def both() -> None:
        run = OneRun()
        async with Program(run, "p", []) as program:
            waiting = asyncio.get_running_loop().create_task(program.read(1))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            run.theirs[0].send(b"y")
            assert await program.read(1) == b"y"
        run.close()

    asyncio.run(both())


def test_a_kept_one_whose_serve_fails_says_so_and_counts_that_run() -> None:
    async def serve(run: Program) -> None:
        raise ValueError("no such topic")

    async def both() -> None:
        runs = [OneRun(), OneRun()]
        kept = KeptProgram(runs[0], "p", [], serve, logging.getLogger("test"), reads_output=False)
        with pytest.raises(ValueError, match="no such topic"):
            await kept._run_once()
        assert (kept.last, kept.restarts) == ("its run has failed: no such topic", 0)
        kept._runner = runs[1]
        with pytest.raises(ValueError, match="no such topic"):
            await kept._run_once()
        assert kept.restarts == 1
        for run in runs:
            run.close()

    asyncio.run(both())
