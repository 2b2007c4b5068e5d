"""What hears at the ends of a link, and the event loop that both run on."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from fakes.memory_host import MemoryHost
from tlsrt.channels.event_loop import EventLoop
from tlsrt.channels.links.link import SOCKET_NAME

PATIENCE_S = 30


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path / SOCKET_NAME))
    listener.listen(64)
    return listener


class Heard:
    """Frames in order, and an event when there are so many of them."""

    def __init__(self, count: int) -> None:
        self.frames: list[bytes] = []
        self.enough = asyncio.Event()
        self._count = count

    def __call__(self, frame: bytes) -> None:
        self.frames.append(frame)
        if len(self.frames) == self._count:
            self.enough.set()


def unexpected(what: object) -> None:
    pytest.fail(f"unexpected: {what!r}")


def frames_of(sizes: list[int]) -> list[bytes]:
    world = MemoryHost()
    return [world.request(body=os.urandom(size)) for size in sizes]


def run(main: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await main()

    with asyncio.Runner(loop_factory=EventLoop) as runner:  # what a process of a host runs
        runner.run(bounded())
