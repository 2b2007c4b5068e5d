"""Programs as a component sees them: one that runs, what came of it, and why it failed.

async with self.program("ffmpeg", "-i", "pipe:0", "-f", "wav", "pipe:1") as run:
    run.feed(sound)
    async for chunk in run:
        ...
    status = await run.wait()

found = await self.run("git", "--version")
found.status, found.stdout, found.stderr
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from tlsrt.channels.control.program_outcome import SENTENCES, Outcome
from tlsrt.channels.control.program_request import encode_request
from tlsrt.errors import MisuseError, ProgramError
from tlsrt.loops.component.kept_undo import KeptUndo, keep
from tlsrt.loops.component.spoken_output import SpokenOutput, first_words
from tlsrt.rate_limit import Bucket

CHUNK_BYTES = 192 << 10  # so that a handler can give each chunk on as an item of its stream
TAIL_BYTES = 4096  # of standard error, for the error and the result
TAIL_LINES = 20
_WRITE_BYTES = 1 << 20  # in one piece: between two, others have their turn
_ERRORS_BYTES = 8 << 10  # in one piece: it can be that many lines
NOTICE_BYTES = 4096  # the longest one that is taken
NOTICES_BURST, NOTICES_PER_S = 50, 20.0  # of one run; beyond it they wait in its socket, which holds some ten

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run: its exit status, its output, and the last lines of its standard error."""

    status: int
    stdout: bytes
    stderr: str


@dataclass(slots=True)
class Pipes:
    """One run as the runtime has got it from the supervisor; `over` gets (outcome, status)."""

    number: int
    data: socket.socket
    errors: socket.socket
    leash: socket.socket
    over: asyncio.Future[tuple[int, int]]
    talk: socket.socket | None = None
    notices: socket.socket | None = None
    grace_s: float = 0.0  # that it has to end by itself, when it is let go
    undo: socket.socket | None = None  # to who keeps an undo; `keep_undo` takes it

    @property
    def sockets(self) -> list[socket.socket]:
        """Return those that a task may wait for."""
        return [one for one in (self.data, self.errors, self.talk, self.notices, self.undo) if one is not None]

    def close(self) -> None:
        """Let go of the run, when no task waits on its sockets."""
        for one in (self.leash, *self.sockets):
            one.close()


class ProgramRunner(Protocol):
    """What has programs run for one component."""

    def begin(self, name: str) -> Coroutine[Any, Any, Pipes]:
        """Have one run. Raises MisuseError for one that is not declared, Busy, ProgramError."""

    def secrets(self, name: str) -> bytes:
        """Return what follows its arguments: its secrets, if it is declared with some. Raises InvalidArgument."""

    def log(self, name: str, number: int, lines: Sequence[bytes]) -> None:
        """Take lines that it has written to its standard error."""


class NoPrograms:
    """What a component has where no programs can be run, as in a test without a host."""

    async def begin(self, name: str) -> Pipes:
        raise MisuseError(f"no program {name!r} can be run here: there is no host")

    def secrets(self, name: str) -> bytes:
        return b""

    def log(self, name: str, number: int, lines: Sequence[bytes]) -> None:
        """Nothing runs, and so nothing is said."""


class Program:
    """A program that runs while the block `async with` lasts, and not longer. Made by `Component.program`.

    What it writes waits until it is read, and what is written to it waits until it has read it: there is no queue.
    """

    def __init__(self, runner: ProgramRunner, name: str, arguments: Sequence[str | bytes]) -> None:
        self.name = name
        self._runner = runner
        self._request = encode_request([one.encode() if isinstance(one, str) else bytes(one) for one in arguments])
        self._pipes: Pipes | None = None
        self._told: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._pending: set[asyncio.Task[Any]] = set()  # operations on its data, which end with the block
        self._tail = b""
        self._spoken: SpokenOutput | None = None

    async def __aenter__(self) -> Self:
        self._pipes = await self._runner.begin(self.name)
        try:
            loop = asyncio.get_running_loop()
            self._told = loop.create_task(self._log_errors(self._pipes))
            with suppress(ConnectionError):  # it has ended already; `wait` says why
                await loop.sock_sendall(self._pipes.data, self._request + self._runner.secrets(self.name))
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def write(self, data: bytes) -> None:
        """Write to its standard input, as fast as it reads. What it does not want any more is dropped."""
        pipes, loop = self._running(), asyncio.get_running_loop()
        view = memoryview(data)
        with suppress(ConnectionError):
            for at in range(0, len(view), _WRITE_BYTES):
                if self._pipes is not pipes:
                    return
                await self._do(loop.sock_sendall(pipes.data, view[at : at + _WRITE_BYTES]))

    def feed(self, data: bytes | AsyncIterable[bytes]) -> None:
        """Write all of its standard input, and end that, while you read what it writes: once for each run.

        What `data` raises comes out where its output ends, of `async for`, `read` and `wait`. Raises MisuseError.
        """
        self._running()
        if self._feeding is not None:
            raise MisuseError(f"the program {self.name} is fed already: its input is one `feed`")
        self._feeding = asyncio.get_running_loop().create_task(self._feed(data))
        self._pending.add(self._feeding)  # it ends with the block

    async def _feed(self, data: bytes | AsyncIterable[bytes]) -> None:
        try:
            if isinstance(data, (bytes, bytearray, memoryview)):
                await self.write(data)
            else:
                async for piece in data:
                    await self.write(piece)
        finally:
            if self._pipes is not None:
                await self.end_input()

    async def end_input(self) -> None:
        """Let it find the end of its standard input."""
        with suppress(OSError):
            self._running().data.shutdown(socket.SHUT_WR)

    async def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes of its standard output, all of it without one; nothing at its end."""
        if count >= 0:
            return await self._receive(min(count, CHUNK_BYTES)) if count else b""
        pieces = [piece async for piece in self]
        return b"".join(pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while piece := await self._receive(CHUNK_BYTES):
            yield piece

    async def _receive(self, count: int) -> bytes:
        data = self._running().data
        try:
            piece = await self._do(asyncio.get_running_loop().sock_recv(data, count))
        except ConnectionError:
            piece = b""
        if not piece and self._feeding is not None and self._feeding.done():
            self._feeding.result()
        return piece

    async def _do(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """Do something with its data, in a task: so it suspends always, which alone it does not if all is there.

        Raises ConnectionError when the program is let go meanwhile, which no operation on a closed socket would tell.
        """
        task = asyncio.get_running_loop().create_task(operation)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self._pipes is None and this is not None and not this.cancelling():
                raise ConnectionAbortedError from None
            raise

    async def wait(self) -> int:
        """End its input, unless it is fed, wait for its end, and return its exit status.

        What it still writes is thrown away. Raises ProgramError if it did not end by itself.
        """
        if self._feeding is None:
            await self.end_input()
        async for _ in self:
            pass
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end, and return its exit status. Raises ProgramError if it did not end by itself."""
        pipes = self._running()
        outcome, status = await asyncio.shield(pipes.over)
        if self._told is not None:
            await asyncio.wait([self._told])
        if outcome == Outcome.ENDED:
            return status
        raise self._error(Outcome(outcome), status)

    @property
    def stderr(self) -> str:
        """Return the last lines that it has written to its standard error."""
        return "\n".join(self._tail.decode("utf-8", "backslashreplace").splitlines()[-TAIL_LINES:])

    def _error(self, outcome: Outcome, status: int) -> ProgramError:
        how = f"signal {status} ended it" if outcome is Outcome.SIGNALLED else SENTENCES[outcome]
        return ProgramError(self.name, outcome.name.lower(), how, status, self.stderr)

    @property
    def number(self) -> int:
        """Return which run of the program this is, in the life of the host."""
        return self._running().number

    @property
    def talk(self) -> socket.socket:
        """Return the socket to its descriptor 3; it ends with the run. Raises MisuseError without `talks: true`."""
        found = self._running().talk
        if found is None:
            raise MisuseError(f"the program {self.name} has no descriptor 3: declare it with `talks: true`")
        return found

    async def keep_undo(self, requests: bytes, seconds: int) -> KeptUndo:
        """Have requests of rtnetlink(7) kept outside of the host, and done when this component has died.

        Call it before the change. They are done after so many seconds, too, unless `release` is called on what is
        returned: within `undo_s`, 256 KiB at most. Raises MisuseError without `undo_s`, Failed if nothing keeps them.
        """
        pipes = self._running()
        end, pipes.undo = pipes.undo, None
        if end is None:
            raise MisuseError(f"the program {self.name} keeps one undo for each run: declare it with `undo_s`")
        return await keep(end, requests, seconds)

    async def notices(self) -> AsyncIterator[bytes]:
        """Give what it says in NOTIFY_SOCKET, one datagram at a time. Raises MisuseError without `notifies: true`."""
        found = self._running().notices
        if found is None:
            raise MisuseError(f"the program {self.name} has no NOTIFY_SOCKET: declare it with `notifies: true`")
        loop = asyncio.get_running_loop()
        bucket = Bucket(NOTICES_BURST, NOTICES_PER_S)
        while True:
            while not bucket.take(loop.time()):
                await asyncio.sleep(1 / NOTICES_PER_S)
            notice = await self._do(loop.sock_recv(found, NOTICE_BYTES + 1))
            if 0 < len(notice) <= NOTICE_BYTES:
                yield notice

    async def log_output(self) -> None:
        """Pass its standard output on to the log of its component, as what it writes to standard error."""
        pipes = self._running()
        await self._do(self._log_lines(pipes, pipes.data))

    def _running(self) -> Pipes:
        if self._pipes is None:
            raise MisuseError(f"the program {self.name} does not run: use it inside of `async with`")
        return self._pipes

    async def _log_errors(self, pipes: Pipes) -> None:
        """Pass on its standard error, and meanwhile what it writes to /dev/stdout and /dev/stderr."""
        try:
            begin, spoken = await first_words(pipes.errors, _ERRORS_BYTES)
        except ConnectionError:
            return
        if spoken is not None:
            self._spoken = spoken
            spoken.begin(pipes.over)
        if begin or spoken is not None:
            await self._log_lines(pipes, pipes.errors, begin, keeps_tail=True)

    async def _log_lines(
        self, pipes: Pipes, source: socket.socket, begin: bytes = b"", *, keeps_tail: bool = False
    ) -> None:
        """Pass on what it writes, line by line, and keep the end of standard error."""
        loop, rest = asyncio.get_running_loop(), b""
        with suppress(ConnectionError):
            while piece := begin or await loop.sock_recv(source, _ERRORS_BYTES):
                begin = b""
                if keeps_tail:
                    self._tail = (self._tail + piece)[-TAIL_BYTES:]
                *lines, rest = (rest + piece).split(b"\n")
                self._runner.log(self.name, pipes.number, lines)
                rest = rest[-TAIL_BYTES:]
                await asyncio.sleep(0)  # one that writes without end does not hold up others
        if rest:
            self._runner.log(self.name, pipes.number, [rest])

    async def let_go(self) -> None:
        """Have it end: a kept program by SIGTERM first, with a moment to end by itself."""
        pipes = self._running()
        pipes.leash.close()
        if pipes.grace_s and not pipes.over.done():
            await asyncio.wait([pipes.over], timeout=pipes.grace_s)

    async def _close(self) -> None:
        """Let go of it: what still runs is ended."""
        pipes, self._pipes = self._pipes, None
        if pipes is None:
            return
        pipes.leash.close()
        tasks = [*self._pending, *([self._told] if self._told is not None else [])]
        for task in tasks:
            task.cancel()
        if self._spoken is not None:
            await self._spoken.close()
        loop = asyncio.get_running_loop()
        for one in pipes.sockets:  # the event loop must not know a number that is given again
            loop.remove_reader(one)
            loop.remove_writer(one)
            one.close()
        if tasks:
            await asyncio.wait(tasks)


async def run_to_end(program: Program, data: bytes, most: int) -> Result:
    """Run a program with this input, and return what came of it. Raises ProgramError, and for too long an output."""
    async with program as running:
        running.feed(data)
        pieces: list[bytes] = []
        left = most
        async for piece in running:
            left -= len(piece)
            if left < 0:
                how = f"it wrote more than {most} bytes: stream them"
                raise ProgramError(running.name, "output", how, 0, running.stderr)
            pieces.append(piece)
        status = await running.wait()
        return Result(status, b"".join(pieces), running.stderr)
