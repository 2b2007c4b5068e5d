"""A component that has programs run, for `make bench-platform`."""

from __future__ import annotations

import asyncio
import time

from tlsrt import Component, handler

PIECE = bytes(1 << 20)
PAUSE_S = 0.06  # between two runs: a component may begin 18 a second


class Packer(Component):
    """Has programs run, and takes the time."""

    @handler
    async def births(self, name: str, count: int) -> list[float]:
        """Run a program again and again; return the milliseconds of each run."""
        taken: list[float] = []
        for _ in range(count):
            begin = time.perf_counter()
            await self.run(name)
            taken.append((time.perf_counter() - begin) * 1000)
            await asyncio.sleep(PAUSE_S)
        return taken

    @handler
    async def throughput(self, name: str, mebibytes: int) -> float:
        """Pass so much through a program and back; return MB/s."""
        async with self.program(name) as running:

            async def feed() -> None:
                for _ in range(mebibytes):
                    await running.write(PIECE)
                await running.end_input()

            begin = time.perf_counter()
            feeding = asyncio.get_running_loop().create_task(feed())
            count = 0
            while data := await running.read(1 << 18):
                count += len(data)
            await feeding
            await running.wait()
            return count / (time.perf_counter() - begin) / 1e6
