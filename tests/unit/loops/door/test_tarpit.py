"""The decoy endpoint: it holds whoever speaks, tells of him once, and none of its caps can be passed."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import Awaitable, Callable

from tlsrt.loops.door.tarpit import HEAD, Tarpit, TarpitLimits

HELLO = b"\x16\x03\x01" + bytes(500)
Scene = Callable[[Tarpit, int, list[str]], Awaitable[None]]


def play(scene: Scene, limits: TarpitLimits | None = None) -> list[str]:
    """Run a scene with a listening tarpit; return the addresses that were told."""
    touched: list[str] = []

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            tarpit = Tarpit(touched.append, limits)
            tarpit.listen(listener.fileno())
            await scene(tarpit, listener.getsockname()[1], touched)
            tarpit.close()
            assert len(tarpit) == 0

    asyncio.run(run())
    return touched


async def dial(port: int, words: bytes = b"") -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    if words:
        await loop.sock_sendall(client, words)
    return client


async def heard(client: socket.socket) -> bytes:
    """Return the next bytes; b"" at the end of the connection."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 65536), 20)
    except ConnectionError:
        return b""


async def has_head(client: socket.socket) -> bool:
    """Say whether the head of a record is what comes first; bytes of ticks may be behind it on a busy machine."""
    return (await heard(client)).startswith(HEAD)


def test_who_speaks_is_told_of_once_and_gets_a_byte_now_and_then() -> None:
    async def scene(tarpit: Tarpit, port: int, touched: list[str]) -> None:
        client = await dial(port, HELLO)
        assert await has_head(client)
        for _ in range(3):
            assert 1 <= len(await heard(client)) <= 8
        assert len(tarpit) == 1
        client.close()

    assert play(scene, TarpitLimits(tick_s=0.02, ticks=1000)) == ["127.0.0.1"]


def test_who_only_connects_is_not_told_of_and_does_not_stay() -> None:
    async def scene(tarpit: Tarpit, port: int, touched: list[str]) -> None:
        client = await dial(port)
        assert await heard(client) == b""  # his time is over too
        client.close()

    assert play(scene, TarpitLimits(tick_s=0.01, ticks=3)) == []


def test_time_and_bytes_end() -> None:
    async def scene(tarpit: Tarpit, port: int, touched: list[str]) -> None:
        client, received = await dial(port, HELLO), b""
        while piece := await heard(client):
            received += piece
        assert received[: len(HEAD)] == HEAD and len(received) < len(HEAD) + 5
        client.close()

    play(scene, TarpitLimits(tick_s=0.01, ticks=5))


def test_one_too_many_is_closed_at_once_and_a_place_is_free_again_later() -> None:
    async def scene(tarpit: Tarpit, port: int, touched: list[str]) -> None:
        held = [await dial(port, HELLO) for _ in range(3)]
        for client in held:
            assert await has_head(client)
        for _ in range(5):
            client = await dial(port)
            assert await heard(client) == b""
            client.close()
        assert tarpit.turned_away == 5 and len(tarpit) == 3
        held.pop().close()
        while len(tarpit) == 3:
            await asyncio.sleep(0.01)  # it learns of the end with the next byte
        client = await dial(port, HELLO)
        assert await has_head(client)
        for other in (*held, client):
            other.close()

    play(scene, TarpitLimits(connections=100, per_address=3, tick_s=0.02, ticks=1000))
    play(scene, TarpitLimits(connections=3, per_address=100, tick_s=0.02, ticks=1000))


def test_who_sends_without_end_is_read_once_and_costs_little() -> None:
    async def scene(tarpit: Tarpit, port: int, touched: list[str]) -> None:
        client = await dial(port, HELLO)
        assert await has_head(client)
        sent = 0
        try:
            async with asyncio.timeout(0.3):
                while True:
                    await asyncio.get_running_loop().sock_sendall(client, bytes(65536))
                    sent += 65536
        except TimeoutError:
            pass
        assert sent < 16 << 20  # what the kernel's buffers hold, and not a byte of it here
        client.close()

    play(scene, TarpitLimits(tick_s=5))


def test_what_all_of_them_cost_is_bounded() -> None:
    async def scene(tarpit: Tarpit, port: int, touched: list[str]) -> None:
        tracemalloc.start()
        held = [await dial(port, HELLO) for _ in range(100)]
        for client in held:
            await heard(client)
        used = sum(
            entry.size
            for entry in tracemalloc.take_snapshot()
            .filter_traces([tracemalloc.Filter(True, "*tarpit*")])
            .statistics("filename")
            if entry.traceback[0].filename.endswith("door/tarpit.py")
        )
        tracemalloc.stop()
        assert len(tarpit) == 100 and 0 < used < 100 * 1024
        for client in held:
            client.close()

    play(scene, TarpitLimits(connections=100, per_address=100))
