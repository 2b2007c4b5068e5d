"""A component that calls another one; and what code in a process could do with the socket for its spans."""

from __future__ import annotations

import gc
import os
from typing import Any

from tlsrt import Component, handler
from tlsrt.loops.dispatch.tracer import Tracer


class Spans(Component):
    """One that asks, and one that is captured."""

    async def start(self) -> None:
        self.tracer: Any = next(thing for thing in gc.get_objects() if isinstance(thing, Tracer))

    @handler
    async def ask(self, target: str, method: str) -> Any:
        """Call another component."""
        return await self.call(target, method)

    @handler
    async def ask_and_run(self, target: str, method: str) -> int:
        """Call another component, and have a program run."""
        await self.call(target, method)
        return (await self.run("true")).status

    @handler
    async def say(self, packets: list[bytes], times: int) -> int:
        """Write these to the socket, so many times; return how many were taken."""
        taken = 0
        for _ in range(times):
            for packet in packets:
                try:
                    os.write(self.tracer._descriptor, packet)
                    taken += 1
                except BlockingIOError:
                    pass
        return taken

    @handler
    async def hear(self) -> str:
        """Read from the socket: what others say, if it were there."""
        try:
            return os.read(self.tracer._descriptor, 4096).hex()
        except OSError as error:
            return type(error).__name__
