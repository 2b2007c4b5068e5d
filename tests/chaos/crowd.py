"""Many clients in one process, each with its own certificate, name and connection.

python crowd.py FOLDER NAME FIRST LAST

The bundles are FOLDER/NAME_NUMBER.tlsrt. It says `ready` when all have a session, calls now and then for each of them,
is told `killed AT` on its standard input, and ends when each has had an answer to a call that began later than that:
then it prints the seconds from AT to that answer for each client, and how many calls ended with which error.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tlsrt import AsyncClient
from tlsrt.errors import CallError

TOGETHER = 16  # clients that open their first session at a time
PAUSE_S = 2.0
CALL_S = 150.0
TARGET, METHOD, KEY = "secondary/store", "get", "key"


class Crowd:
    """The clients, and what became of their calls."""

    def __init__(self, bundles: list[Path]) -> None:
        self._clients = [AsyncClient(bundle) for bundle in bundles]
        self._killed = asyncio.Event()
        self._killed_at = 0.0
        self.errors: Counter[str] = Counter()

    async def open(self) -> None:
        turn = asyncio.Semaphore(TOGETHER)

        async def open_one(client: AsyncClient) -> None:
            async with turn:
                await client.connect()

        await asyncio.gather(*map(open_one, self._clients))

    async def hear_of_the_kill(self) -> None:
        line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        self._killed_at = float(line.split()[1])
        self._killed.set()

    async def served_again(self) -> list[float]:
        return await asyncio.gather(*map(self._call_on, self._clients))

    async def _call_on(self, client: AsyncClient) -> float:
        """Call now and then, and at once when Primary was killed; return s from there to the first answer."""
        while True:
            if not self._killed.is_set():
                try:
                    await asyncio.wait_for(self._killed.wait(), PAUSE_S * random.random())
                except TimeoutError:
                    pass
            begun = time.monotonic()
            try:
                await client.call(TARGET, METHOD, KEY, idempotent=True, timeout_s=CALL_S)
            except CallError as error:
                self.errors[error.code] += 1
                await asyncio.sleep(0.1)
                continue
            if self._killed_at and begun > self._killed_at:
                return time.monotonic() - self._killed_at

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))


async def main(folder: str, name: str, first: str, last: str) -> None:
    crowd = Crowd([Path(folder) / f"{name}_{number}.tlsrt" for number in range(int(first), int(last))])
    await crowd.open()
    print("ready", flush=True)
    _, served = await asyncio.gather(crowd.hear_of_the_kill(), crowd.served_again())
    print(json.dumps([served, crowd.errors]), flush=True)
    sys.stdin.readline()  # they stay until all others are there too
    await crowd.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
