"""A client with calls of every kind under way, to be killed.

python gone_worker.py BUNDLE NAME JOBS OTHER [ADDRESS]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from tlsrt import AsyncClient

CALL_S = 250.0


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(100)
        await asyncio.sleep(0.05)


async def main(bundle: str, name: str, jobs: str, other: str, address: str | None = None) -> None:
    async with AsyncClient(bundle, address) as client:

        async def work() -> None:
            async for job in client.stream(jobs, "work", f"{name} stream", timeout_s=CALL_S):
                print(job, flush=True)

        await asyncio.gather(
            work(),
            client.call(jobs, "hold", f"{name} call", timeout_s=CALL_S),
            client.call(jobs, "ask", f"{name} ask", other, timeout_s=CALL_S),
            client.upload(jobs, "swallow", endless(), f"{name} upload", timeout_s=CALL_S),
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
