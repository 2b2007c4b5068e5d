"""A component that tells what its loop may do now, keeps a call open, and can stop acknowledging epochs."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import time
from pathlib import Path
from typing import Any

from tlsrt import Component, handler
from tlsrt.loops.runtime.process import LoopProcess


class Probed(Component):
    """One loop, looked at from inside."""

    async def start(self) -> None:
        self.count = 0

    @handler(idempotent=True)
    async def add(self, number: int) -> int:
        """Add to a total that a restart forgets."""
        self.count += number
        return int(self.count)

    @handler(idempotent=True)
    async def write(self, words: str) -> None:
        """Write a line to the log."""
        self.log.info("%s", words)

    @handler
    async def read(self, path: str) -> str:
        """The text of a file, or the error."""
        try:
            return Path(path).read_text()
        except OSError as error:
            return f"{type(error).__name__}: {error.strerror}"

    @handler
    async def descriptors(self, count: int) -> str:
        """Open so many descriptors, close them, and say how it went."""
        opened: list[int] = []
        try:
            opened += [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
        except OSError as error:
            return f"{type(error).__name__}: {error.strerror}"
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return "done"

    @handler
    async def raise_limit(self, count: int) -> str:
        """Ask the kernel for more descriptors."""
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
        except (OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return "done"

    @handler
    async def connect(self, port: int) -> str:
        """Connect to a port of this host."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            return f"{type(error).__name__}: {error.strerror}"
        writer.close()
        return "done"

    @handler
    async def held(self, seconds: float) -> str:
        """Answer after a while."""
        await asyncio.sleep(seconds)
        return "done"

    @handler
    async def block(self, seconds: float) -> None:
        """Let this loop do nothing else for a while."""
        time.sleep(seconds)

    @handler
    async def deafen(self) -> None:
        """Acknowledge no epoch any more, and beat on."""
        process: Any = next(thing for thing in gc.get_objects() if isinstance(thing, LoopProcess))
        real = process.authority.on_message

        def deaf(name: str, *rest: Any) -> None:
            if name not in ("prepare", "commit"):
                real(name, *rest)

        process.authority.on_message = deaf
