"""A client that floods: so many sessions, each with so many calls under way, until it is ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tlsrt import AsyncClient, CallError


async def _keep_calling(client: AsyncClient, target: str, data: bytes) -> None:
    while True:
        try:
            await client.call(target, "echo", data)
        except CallError:
            await asyncio.sleep(0.001)


async def main(bundle: str, target: str, sessions: int, outstanding: int) -> None:
    """Flood until somebody ends this process."""
    clients = [AsyncClient(Path(bundle)) for _ in range(sessions)]
    for client in clients:
        await client.connect()
    calls = [_keep_calling(client, target, bytes(64)) for client in clients for _ in range(outstanding)]
    print("up", flush=True)
    await asyncio.gather(*calls)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
