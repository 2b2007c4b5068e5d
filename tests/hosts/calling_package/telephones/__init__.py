"""Components that are rung and ring, for the tests of calls."""

from __future__ import annotations

import asyncio
import math
import struct
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from itertools import pairwise
from typing import Any

from tlsrt import Busy, CallError, Component, handler
from tlsrt.loops.external.call_leg import (
    ANSWER,
    DIGIT,
    HELD,
    RATE,
    RESUMED,
    SAMPLES,
    SOUND,
    TEXT,
    HeardPieces,
    Pace,
    Piece,
    dial,
    pieces_of,
    sound,
    text,
)

HERTZ = 440
LOUD = 1000  # root of the mean of the squares, of 32768


def tone(start: int) -> bytes:
    """Return 20 ms of a tone, from a sample on."""
    return struct.pack(
        f"<{SAMPLES}h", *(round(8000 * math.sin(2 * math.pi * HERTZ * (start + n) / RATE)) for n in range(SAMPLES))
    )


class Telephone(Component):
    """Says a tone, and keeps what it hears: how loud, which tone, when last, texts and digits."""

    async def start(self) -> None:
        self._tones = [tone(SAMPLES * n) for n in range(25)]  # half a second, 220 periods
        self._is_silent = False
        self._begin()

    def _begin(self) -> None:
        self._rung: list[list[str]] = getattr(self, "_rung", [])
        self._pieces = self._loud = self._crossings = 0
        self._last_s = self._first_loud_s = 0.0
        self._others: list[tuple[int, str]] = []
        self._is_in = False

    @handler
    async def take_call(
        self, id: str, by: str, says: str, number: str, heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Answer with a tone; engaged, and declining, under the numbers of these names."""
        self._rung.append([id, by, says, number])
        if number == "engaged":
            raise Busy("another call")
        if number == "declining":
            return
        if number == "patient":
            self._is_in = True
            try:
                await asyncio.sleep(600)
            finally:
                self._is_in = False
        self._begin()
        self._is_in = True
        listening = asyncio.ensure_future(self._listen(heard))
        try:
            yield ANSWER
            yield text("welcome")
            count, pace = 0, Pace()
            while not listening.done():
                await pace.wait()
                pcm = bytes(2 * SAMPLES) if self._is_silent else self._tones[count % 25]
                yield sound(pcm)
                count += 1
        finally:
            listening.cancel()
            self._is_in = False

    async def _listen(self, heard: AsyncIterator[bytes]) -> None:
        async for piece in pieces_of(heard):
            self._keep(piece)

    def _keep(self, piece: Piece) -> None:
        if piece.kind in (TEXT, DIGIT, HELD, RESUMED):
            self._others.append((piece.kind, piece.content.decode()))
        if piece.kind != SOUND:
            return
        samples = array("h", piece.content)
        self._pieces += 1
        self._last_s = time.time()
        if math.sqrt(sum(one * one for one in samples[::8]) / (SAMPLES // 8)) > LOUD:
            self._loud += 1
            self._first_loud_s = self._first_loud_s or time.time()
            self._crossings += sum((one < 0) != (two < 0) for one, two in pairwise(samples))

    @handler
    async def silent(self, is_silent: bool) -> float:
        """Say nothing, or the tone again; returns when, wall s. What was heard is forgotten."""
        self._is_silent = is_silent
        self._first_loud_s = 0.0
        return time.time()

    @handler
    async def report(self) -> dict[str, Any]:
        """What it has heard."""
        hertz = self._crossings / 2 / (self._loud * 0.02) if self._loud else 0.0
        return {
            "rung": self._rung, "pieces": self._pieces, "loud": self._loud, "hertz": hertz, "last_s": self._last_s,
            "first_loud_s": self._first_loud_s, "others": self._others, "is_in": self._is_in,
        }  # fmt: skip

    @handler
    async def ring(self, number: str, for_pieces: int) -> dict[str, Any]:
        """Ring a number, say a tone, and hang up after so many pieces of sound; returns what was heard."""
        self._begin()
        heard = HeardPieces()
        saying = asyncio.ensure_future(self._say(heard))
        try:
            async with aclosing(dial(self, "external/calls", number, heard, says="a telephone")) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    self._keep(piece)
                    if self._pieces >= for_pieces:
                        heard.close()
                        break
        except CallError as error:
            return {"why": error.message, "code": type(error).__name__, **await self.report()}
        finally:
            saying.cancel()
            with suppress(asyncio.CancelledError):
                await saying
        return {"why": "", "code": "", **await self.report()}

    async def _say(self, heard: HeardPieces) -> None:
        count, pace = 0, Pace()
        while True:
            await pace.wait()
            heard.put(sound(bytes(2 * SAMPLES) if self._is_silent else self._tones[count % 25]))
            count += 1


class LyingCalls(Component):
    """The external/calls of a host that lies to the one that rings: what is no sound, too much, odd words."""

    @handler
    async def dial_from(self, number: str, by: str, says: str, said: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Lie in the way that the number names."""
        if number == "words":
            raise Busy("\x1b[2Jengaged\n" * 500)
        yield ANSWER
        if number == "garbage":
            yield b"\1odd"
        while number == "flood":
            yield sound(tone(0))
        while number == "deaf":
            yield sound(tone(0))
            await asyncio.sleep(0.02)
        async for _ in said:
            pass


class LyingCamera(Component):
    """A camera that gives, by the name of the source, what is no picture, or one of another size than it says."""

    @handler(idempotent=True)
    async def frames(self, source: str, count: int = 0, nth: int = 1) -> AsyncIterator[Any]:
        """Lie ten times a second, for ever."""
        size = b"\xff\xd8\xff\xc0\x00\x11\x08" + b"\xf0\x00\xf0\x00" + b"\x03" + bytes(1000)  # 61440 x 61440
        head = {"number": 1, "width": 320, "height": 180, "format": "jpeg"}
        lies: dict[str, list[Any]] = {
            "odd": ["", {}, 7, {**head, "data": "text"}],
            "large": [{**head, "width": 40_000, "data": b"x"}],
            "bomb": [{**head, "data": size}, {**head, "data": b"\xff\xd8" + bytes(5000)}, {**head, "data": b""}],
            "raw": [{**head, "format": "rgb24", "data": bytes(10)}, {**head, "format": "gray", "data": bytes(57_601)}],
            "endless": [{**head, "part": at, "parts": 1 << 40, "data": bytes(180_000)} for at in range(60)],
        }
        while True:
            for one in lies[source]:
                yield one
                await asyncio.sleep(0.02)
