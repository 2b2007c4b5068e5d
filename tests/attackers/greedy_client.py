"""A client that keeps legal calls and streams open, as many as it can: `python -m attackers.greedy_client ...`.

It has a process of its own, so that what it costs is not charged to the test that measures. Arguments: bundle, target,
method, how many at once. It says `begun` when all are under way, ends with its standard input, and says what it got.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import aclosing

from tlsrt import AsyncClient
from tlsrt.errors import TlsrtError

PER_CONNECTION = 900  # below what one session may have open


class GreedyClient:
    """Counts what it got, by its word."""

    def __init__(self, bundle: str, target: str, method: str, count: int) -> None:
        self._bundle = bundle
        self._call = (target, method)
        self._count = count
        self.got: Counter[str] = Counter()

    async def run(self) -> None:
        until_end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        each = [min(PER_CONNECTION, self._count - at) for at in range(0, self._count, PER_CONNECTION)]
        ones = [asyncio.create_task(self._connection(count)) for count in each]
        while not self.got.total():
            await asyncio.sleep(0.01)
        print("begun", flush=True)
        await until_end
        for one in ones:
            one.cancel()
        await asyncio.gather(*ones, return_exceptions=True)
        print(json.dumps(self.got), flush=True)

    async def _connection(self, count: int) -> None:
        async with AsyncClient(self._bundle) as client:
            take = self._watch if self._call[1] == "watch" else self._ask
            await asyncio.gather(*(take(client) for _ in range(count)))

    async def _ask(self, client: AsyncClient) -> None:
        while True:
            try:
                await client.call(*self._call, timeout_s=60)
                self.got["answered"] += 1
            except TlsrtError as error:
                self.got[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    async def _watch(self, client: AsyncClient) -> None:
        while True:
            try:
                async with aclosing(client.stream(*self._call, 0.1, timeout_s=60)) as items:
                    async for _ in items:
                        self.got["answered"] += 1
            except TlsrtError as error:
                self.got[type(error).__name__] += 1
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(GreedyClient(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])).run())
