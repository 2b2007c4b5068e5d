"""The ear of a component in a call: nothing that it listens to is late, and keys are never missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tlsrt.loops.external.call_ear import DIGITS_KEPT, KEPT_PIECES, CallEar
from tlsrt.loops.external.call_leg import PIECE_BYTES, digit, sound, text
from tlsrt.loops.external.call_recording import Recording


def pcm(number: int) -> bytes:
    return number.to_bytes(2, "little") * (PIECE_BYTES // 2)


async def said(line: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (one := await line.get()) is not None:
        yield one


async def settled(line: asyncio.Queue[bytes | None]) -> None:
    while not line.empty():
        await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_what_was_said_before_is_forgotten_and_what_is_too_much_as_well() -> None:
    async def run() -> None:
        line: asyncio.Queue[bytes | None] = asyncio.Queue()
        async with CallEar(said(line)) as ear:
            for number in range(10):
                line.put_nowait(sound(pcm(number)))
            await settled(line)
            ear.listen()
            for number in range(100, 105):
                line.put_nowait(sound(pcm(number)))
            line.put_nowait(text("no sound"))
            assert [await ear.sound(1) for _ in range(5)] == [pcm(number) for number in range(100, 105)]
            for number in range(KEPT_PIECES + 3):
                line.put_nowait(sound(pcm(number)))
            await settled(line)
            assert await ear.sound(1) == pcm(3)
            ear.rest()
            assert await ear.sound(0.01) is None

    asyncio.run(run())


def test_a_key_and_the_end_wake_who_listens() -> None:
    async def run() -> None:
        line: asyncio.Queue[bytes | None] = asyncio.Queue()
        async with CallEar(said(line)) as ear:
            ear.listen()
            listening = asyncio.ensure_future(ear.sound(60))
            line.put_nowait(digit("#"))
            assert await asyncio.wait_for(listening, 5) is None and ear.keys == "#"
            ear.keys = ""
            for _ in range(DIGITS_KEPT + 5):
                line.put_nowait(digit("1"))
            await settled(line)
            assert ear.keys == "1" * DIGITS_KEPT
            ear.keys = ""
            listening = asyncio.ensure_future(ear.sound(60))
            line.put_nowait(None)
            assert await asyncio.wait_for(listening, 5) is None and ear.is_over

    asyncio.run(run())


def test_what_is_no_piece_is_the_end() -> None:
    async def run() -> None:
        line: asyncio.Queue[bytes | None] = asyncio.Queue()
        line.put_nowait(b"\1odd")
        async with CallEar(said(line)) as ear:
            ear.listen()
            assert await ear.sound(60) is None and ear.is_over

    asyncio.run(run())


def test_what_was_said_before_the_key_or_the_end_is_recorded_though_it_is_late() -> None:
    async def run(last: bytes | None) -> None:
        line: asyncio.Queue[bytes | None] = asyncio.Queue()
        async with CallEar(said(line)) as ear:
            ear.listen()
            for number in range(50):
                line.put_nowait(sound(pcm(1000 + number)))
            line.put_nowait(last)
            await settled(line)
            recording = Recording(60, 5, -45)
            assert await ear.record(recording, 0.5) and await ear.record(recording, 0.9)
            assert not await ear.record(recording, 60) and abs(recording.heard_s - 1) < 0.001

    for last in (digit("#"), None):
        asyncio.run(run(last))
