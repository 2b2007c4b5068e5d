"""Primary's end of a link: a recipient that does not keep up harms those who flood it, and nobody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tlsrt.channels.links.gate_link import GateLink
from tlsrt.channels.links.link import SOCKET_NAME, TURN_BUDGET, Link
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.errors import Busy

QUEUE = 256


def frame(source: str, number: int) -> bytes:
    return b"\x94\xc4" + f"{source}.{number}.".encode() + bytes(2000)


def name(data: bytes) -> tuple[str, int]:
    source, number, _ = data[2:].split(b".", 2)
    return source.decode(), int(number)


def run(tmp_path: Path, test: Callable[[GateLink, Link, list[bytes]], Awaitable[None]]) -> None:
    async def main() -> None:
        heard: list[bytes] = []
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / SOCKET_NAME))
            listener.listen(8)
            primary = GateLink(WriteBatch(), lambda data: None, print, queue_max=QUEUE)
            primary.listen(listener.fileno())
            loop = Link(WriteBatch(), heard.append, print)
            loop.connect(str(tmp_path))
            while primary._ready is None:
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                await test(primary, loop, heard)
            primary.close()
            loop.close()

    asyncio.run(main())


def deaf(loop: Link) -> None:
    """Let a loop read nothing for now."""
    asyncio.get_running_loop().remove_reader(loop._connections[0].socket.fileno())


def hear(loop: Link) -> None:
    asyncio.get_running_loop().add_reader(loop._connections[0].socket.fileno(), loop._readable, loop._connections[0])


def fill(primary: GateLink, source: str) -> int:
    """Send until the share of a source is full; return how many were taken."""
    for number in range(100_000):
        try:
            primary.send_from(source, frame(source, number))
        except Busy:
            return number
        primary.flush()
    raise AssertionError("it is never full")


def test_one_that_floods_a_deaf_recipient_fills_its_own_share_and_waits_for_no_turn_of_another(tmp_path: Path) -> None:
    async def test(primary: GateLink, loop: Link, heard: list[bytes]) -> None:
        deaf(loop)
        flooded = fill(primary, "flood")
        assert primary.depth <= QUEUE // 2 + 1
        for number in range(10):
            primary.send_from("innocent", frame("innocent", number))
        hear(loop)
        while len(heard) < flooded + 10:
            await asyncio.sleep(0)
        names = [name(data) for data in heard]
        for source, count in (("flood", flooded), ("innocent", 10)):
            assert [number for who, number in names if who == source] == list(range(count)), "in order, none lost"
        waited = flooded - QUEUE // 2  # what the kernel had already
        last = max(at for at, (who, _) in enumerate(names) if who == "innocent")
        assert last - waited < 60, "ten of each in turn, two frames a turn"

    run(tmp_path, test)


def test_bytes_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(primary: GateLink, loop: Link, heard: list[bytes]) -> None:
        deaf(loop)
        primary._later._bytes_left = 100_000
        fill(primary, "flood")
        assert sum(map(len, primary.close())) <= 100_000 + 50_000

    run(tmp_path, test)


def test_a_link_that_brings_much_leaves_the_turn_to_another(tmp_path: Path) -> None:
    """Thousands of frames are there to be read from one loop; one of another comes between them."""

    async def main() -> None:
        order: list[str] = []
        turn = WriteBatch()
        ends: list[Link] = []
        loops: list[Link] = []
        listeners = []
        for who in ("flood", "innocent"):
            folder = tmp_path / who
            folder.mkdir()
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(folder / SOCKET_NAME))
            listener.listen(8)
            listeners.append(listener)
            ends.append(GateLink(turn, lambda data, who=who: order.append(who), print))  # type: ignore[misc]
            ends[-1].listen(listener.fileno())
            loops.append(Link(WriteBatch(), print, print, queue_max=5000))
            loops[-1].connect(str(folder))
        while not all(end._ready for end in (*ends, *loops)):
            await asyncio.sleep(0)
        deaf(ends[0])
        deaf(ends[1])
        for number in range(600):
            loops[0].send(b"\x94\xc4" + bytes(100) + bytes((number % 256,)))
        loops[1].send(frame("innocent", 0))
        for loop in loops:
            loop.flush()
        hear(ends[0])
        hear(ends[1])
        async with asyncio.timeout(20):
            while len(order) < 601:
                await asyncio.sleep(0)
        assert order.index("innocent") <= 2 * TURN_BUDGET
        for link in (*ends, *loops):
            link.close()
        for listener in listeners:
            listener.close()

    asyncio.run(main())
