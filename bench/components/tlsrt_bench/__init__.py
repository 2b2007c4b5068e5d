"""The components that the bench measures: a driver that calls, and an echo that answers.

The driver measures from inside its own loop, so the TLS door is not on the measured path.
"""

from __future__ import annotations

import asyncio
import os
import time

from tlsrt import CallError, Component, handler


class Echo(Component):
    """Gives back what it gets."""

    @handler
    async def echo(self, data: bytes) -> bytes:
        """The same bytes."""
        return data


class Driver(Component):
    """Calls another component as fast as it answers."""

    @handler(idempotent=True)
    async def ping(self) -> int:
        """Nothing but an answer."""
        return 0

    @handler
    async def run(  # type: ignore[override]
        self, target: str, size: int, outstanding: int, seconds: float, *, text: bool = False
    ) -> dict[str, float]:
        """Keep so many `echo` calls of `size` bytes, or characters of `text`, under way for so long.

        Returns count, real seconds, p50 and p99.
        """
        data = os.urandom(size // 2).hex() if text else os.urandom(size)
        latencies: list[int] = []
        clock = time.perf_counter_ns
        begin = clock()
        end = begin + int(seconds * 1e9)

        async def keep_calling() -> None:
            now = clock()
            while now < end:
                sent = now
                await self.call(target, "echo", data)
                now = clock()
                latencies.append(now - sent)

        await asyncio.gather(*(keep_calling() for _ in range(outstanding)))
        elapsed = (clock() - begin) / 1e9
        latencies.sort()
        count = len(latencies)
        return {
            "count": count,
            "seconds": elapsed,
            "p50_us": latencies[count // 2] / 1000,
            "p99_us": latencies[min(count - 1, count * 99 // 100)] / 1000,
        }

    @handler
    async def flood(self, target: str, size: int, outstanding: int, seconds: float) -> int:
        """The same without looking at what comes of it; how many calls ended."""
        data = os.urandom(size)
        end = time.perf_counter() + seconds
        ended = 0

        async def keep_calling() -> None:
            nonlocal ended
            while time.perf_counter() < end:
                try:
                    await self.call(target, "echo", data)
                except CallError:
                    await asyncio.sleep(0)
                ended += 1

        await asyncio.gather(*(keep_calling() for _ in range(outstanding)))
        return ended
