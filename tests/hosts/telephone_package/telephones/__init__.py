"""Components that telephones ring and that ring telephones: they say a tone, and measure what they hear."""

from __future__ import annotations

import array
import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Busy, Component, handler
from tlsrt.loops.external.call_leg import (
    ANSWER,
    DIGIT,
    PIECE_BYTES,
    RATE,
    SAMPLES,
    SOUND,
    HeardPieces,
    digit,
    pieces_of,
    sound,
)

HERTZ = 880


def tone(hertz: int) -> list[bytes]:
    """Return a second of a tone, in pieces of 20 ms."""
    samples = array.array("h", [round(8000 * math.sin(2 * math.pi * hertz * at / RATE)) for at in range(RATE)])
    whole = samples.tobytes()
    return [whole[at : at + PIECE_BYTES] for at in range(0, len(whole), PIECE_BYTES)]


def hertz_of(samples: array.array[int], rate: int) -> float:
    """Return the frequency of a tone, by its crossings of zero from below."""
    return rate * sum(1 for one, two in itertools.pairwise(samples) if one < 0 <= two) / max(1, len(samples))


class Ears:
    """Measures one call."""

    def __init__(self) -> None:
        self.digits = ""
        self.samples: array.array[int] = array.array("h")

    def take(self, kind: int, content: bytes) -> None:
        """Take a piece."""
        if kind == DIGIT:
            self.digits += content.decode()
        elif kind == SOUND and len(self.samples) < 4 * RATE:
            self.samples.frombytes(content)

    def told(self) -> dict[str, Any]:
        """Return the measure of what came after the first half second."""
        heard = self.samples[RATE // 2 :]
        peak = max(map(abs, heard), default=0)
        return {"hertz": hertz_of(heard, RATE), "peak": peak, "s": len(self.samples) / RATE, "digits": self.digits}


class Door(Component):
    """Is rung: says a tone until the other side hangs up; or is engaged, or declines, or hangs up itself."""

    mode = "talks"

    async def start(self) -> None:
        self.ears: dict[str, Ears] = {}
        self.over: list[str] = []
        self.rung: list[list[str]] = []
        self.pieces = tone(HERTZ)

    @handler
    async def be(self, mode: str) -> None:
        """Do so with the next calls."""
        self.mode = mode

    @handler
    async def heard(self) -> dict[str, Any]:
        """Return what was heard in each call, and the calls that are over."""
        return {"calls": {id: ears.told() for id, ears in self.ears.items()}, "over": self.over, "rung": self.rung}

    @handler
    async def take_call(
        self, id: str, by: str, says: str, number: str, heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Take a call."""
        self.rung.append([by, says, number])
        if self.mode == "engaged":
            raise Busy("engaged")
        if self.mode == "declines":
            return
        if self.mode == "waits":
            await asyncio.sleep(60)
        ears = self.ears[id] = Ears()
        yield ANSWER
        if self.mode == "hangs up":
            return
        listening = asyncio.get_running_loop().create_task(self._listen(ears, heard))
        try:
            if self.mode == "quiet":
                await listening
                return
            if self.mode == "digit":
                yield digit("7")
            for piece in itertools.cycle(self.pieces):
                if listening.done():
                    return
                yield sound(piece)
        finally:
            listening.cancel()
            self.over.append(id)

    async def _listen(self, ears: Ears, heard: AsyncIterator[bytes]) -> None:
        async for piece in pieces_of(heard):
            ears.take(*piece)

    @handler
    async def ring(self, bridge: str, telephone: str, seconds: float, digits: str = "") -> dict[str, Any]:
        """Ring a telephone, say a tone for a while, and return what was heard."""
        said, ears, answered = HeardPieces(), Ears(), False
        items: AsyncIterator[Any] = self.exchange(bridge, "dial", said, telephone, "the door")
        try:
            async for piece in pieces_of(items):
                if not answered:
                    answered = True
                    talking = asyncio.get_running_loop().create_task(self._talk(said, seconds, digits))
                ears.take(*piece)
        finally:
            if answered:
                talking.cancel()
        return {"answered": answered, **ears.told()}

    async def _talk(self, said: HeardPieces, seconds: float, digits: str) -> None:
        began_s = asyncio.get_running_loop().time()
        for character in digits:
            said.put(digit(character))
        for count in range(round(seconds * 50)):
            said.put(sound(self.pieces[count % 50]))
            await asyncio.sleep(max(0.0, began_s + count * SAMPLES / RATE - asyncio.get_running_loop().time()))
        said.close()
