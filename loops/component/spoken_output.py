"""What a program writes to /dev/stdout and /dev/stderr: two pipes in its root, passed on to where its output goes.

Its standard output and error are sockets, which nothing can open by a name. So its launcher makes a pipe for each name,
and gives the component both, with duplicates of the program's ends of the two sockets: what comes by a pipe is written
there, between what the program itself writes. At the end of the run the pipes are emptied and the duplicates closed, so
its output ends with the run.

Descriptors are taken from the first message of standard error alone, which our own launcher writes before it executes.
The duplicates share their mode with the program, so they are never made non-blocking: each send says that it is.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from tlsrt.channels.control.program_request import SPOKEN_MARK

_CHUNK_BYTES = 64 << 10
_PAIRS = 2
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_Watch = Callable[[int, Callable[[], object]], object]


async def first_words(errors: socket.socket, most: int) -> tuple[bytes, SpokenOutput | None]:
    """Return what comes first of standard error, or the output by name, which is no part of it."""
    loop = asyncio.get_running_loop()
    await _ready(loop.add_reader, loop.remove_reader, errors.fileno())
    said, descriptors, _, _ = socket.recv_fds(errors, most, 2 * _PAIRS)
    if len(descriptors) == 2 * _PAIRS and said == SPOKEN_MARK:
        return b"", SpokenOutput(descriptors[:_PAIRS], descriptors[_PAIRS:])
    for one in descriptors:
        os.close(one)
    return said, None


async def _ready(watch: _Watch, forget: Callable[[int], object], descriptor: int) -> None:
    ready = asyncio.Event()
    watch(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        forget(descriptor)


class SpokenOutput:
    """The pipes of one run, and the sockets that each is passed on to. Open until it is closed."""

    def __init__(self, pipes: Sequence[int], ends: Sequence[int]) -> None:
        self._pairs = [(pipe, socket.socket(fileno=end)) for pipe, end in zip(pipes, ends, strict=True)]

        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, over: asyncio.Future[tuple[int, int]]) -> None:
        """Pass on all until the run is over and the pipes are empty."""
        self._tasks = [asyncio.get_running_loop().create_task(_pass_on(pipe, end, over)) for pipe, end in self._pairs]

    async def close(self) -> None:
        """Let go of what is left of it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pipe, end in self._pairs:
            os.close(pipe)
            end.close()
        self._pairs = []


async def _pass_on(pipe: int, end: socket.socket, over: asyncio.Future[tuple[int, int]]) -> None:
    """Pass on one pipe, and close its socket."""
    with end, suppress(ConnectionError):
        while True:
            is_over = over.done()
            try:
                piece = memoryview(os.read(pipe, _CHUNK_BYTES))
            except BlockingIOError:
                if is_over:
                    return
                await _wait_for(pipe, over)
                continue
            await _send(end, piece)


async def _wait_for(pipe: int, over: asyncio.Future[tuple[int, int]]) -> None:
    loop = asyncio.get_running_loop()
    coming: asyncio.Future[None] = asyncio.ensure_future(_ready(loop.add_reader, loop.remove_reader, pipe))
    try:
        waits: set[asyncio.Future[Any]] = {coming, over}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _send(end: socket.socket, rest: memoryview) -> None:
    """Send all of it. Raises ConnectionError if the other end is closed."""
    loop = asyncio.get_running_loop()
    while rest:
        try:
            rest = rest[end.send(rest, _FLAGS) :]
        except BlockingIOError:
            await _ready(loop.add_writer, loop.remove_writer, end.fileno())
