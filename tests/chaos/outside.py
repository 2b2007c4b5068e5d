"""A process of clients: some of asyncio and one without, talking to a host over TLS until they are told to end.

    python -m chaos.outside LEDGER SECRET BUNDLE...

A line on standard input `drop` cuts a client's connection as a broken network does; `end` (or its end) ends all. It is
a process of its own, with the nonce trap inside, so that what clients seal is looked at too.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.trap import install

if TYPE_CHECKING:
    from tlsrt import AsyncClient, Client

JOURNALS = ["primary/journal", "primary/journal_facts", "secondary/journal", "forth/journal"]
STORE = "secondary/store"


class _AsyncWays:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    def call(
        self, target: str, method: str, args: tuple[Any, ...], timeout_s: float, key: str | None
    ) -> Coroutine[Any, Any, Any]:
        return self._client.call(target, method, *args, timeout_s=timeout_s, idempotent=key is not None)

    def stream(self, target: str, method: str, args: tuple[Any, ...], timeout_s: float) -> AsyncIterator[Any]:
        return self._client.stream(target, method, *args, timeout_s=timeout_s)


class _SyncWays:
    """The client without asyncio, one thread a call."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, target: str, method: str, args: tuple[Any, ...], timeout_s: float, key: str | None) -> Any:
        return await asyncio.to_thread(
            self._client.call, target, method, *args, timeout_s=timeout_s, idempotent=key is not None
        )

    async def stream(self, target: str, method: str, args: tuple[Any, ...], timeout_s: float) -> AsyncIterator[Any]:
        stream = self._client.stream

        def collect() -> list[Any]:
            return list(stream(target, method, *args, timeout_s=timeout_s))

        for item in await asyncio.to_thread(collect):
            yield item


async def _connect(bundle: str, ledger: Path, number: int) -> tuple[Any, Any]:
    from chaotic.notes import Notes  # type: ignore[import-not-found]
    from chaotic.talker import Talker  # type: ignore[import-not-found]

    from tlsrt import AsyncClient, Client

    notes = Notes(ledger / f"outside-{number}.jsonl")
    name = f"outside{number}"
    if number == 0:
        sync = await asyncio.to_thread(Client, bundle)
        return sync, Talker(name, notes, _SyncWays(sync), JOURNALS, STORE)
    client = AsyncClient(bundle)
    await client.connect()
    return client, Talker(name, notes, _AsyncWays(client), JOURNALS, STORE)


def _cut(client: Any) -> None:
    """End a connection without a word, as far as its client knows."""
    transport = client._session._link.connection._transport if client._session._link is not None else None
    if transport is not None:
        with suppress(OSError):
            transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


async def _main(ledger: Path, bundles: list[str]) -> None:
    made = [await _connect(bundle, ledger, number) for number, bundle in enumerate(bundles)]
    for _, talker in made:
        talker.begin(3)
    print("talking", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while (line := await reader.readline()).strip() not in (b"", b"end"):
        if line.strip() == b"drop":
            _cut(random.choice(made[1:])[0])
    await asyncio.gather(*(talker.end() for _, talker in made))
    for number, (client, talker) in enumerate(made):
        talker._notes.close()
        await (asyncio.to_thread(client.close) if number == 0 else client.close())


if __name__ == "__main__":
    folder, secret, *bundles = sys.argv[1:]
    install(Path(folder) / f"outside-{os.getpid()}.trap", bytes.fromhex(secret))
    asyncio.run(_main(Path(folder), bundles))
