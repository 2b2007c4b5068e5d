"""The ear of a component in a call: reads what it hears as it comes, so that what it listens to is never late. asyncio.

A component that speaks for a while and does not read meanwhile would hear the begin of that time afterwards. The ear
reads all the time, and forgets the sound to which no one listens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType

from tlsrt import CallError
from tlsrt.loops.external.call_leg import DIGIT, SOUND, Piece, pieces_of
from tlsrt.loops.external.call_recording import Recording

KEPT_PIECES = 100  # two seconds that the component may be late
DIGITS_KEPT = 32
END_KEY = "#"  # of what is recorded
LOOK_S = 0.5


class CallEar:
    """Reads as long as it is open: `async with CallEar(heard) as ear`."""

    def __init__(self, heard: AsyncIterator[bytes]) -> None:
        self.over = asyncio.Event()  # the other side has hung up
        self.keys = ""  # that were pressed, the last 32; the component takes them away
        self._heard = heard
        self._waiting: deque[bytes] = deque(maxlen=KEPT_PIECES)
        self._listens = False
        self._happened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> CallEar:
        self._task = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def is_over(self) -> bool:
        """Tell whether the other side has hung up."""
        return self.over.is_set()

    def listen(self) -> None:
        """Keep the sound from now on; keys that were pressed before count no more."""
        self.keys = ""
        self._waiting.clear()
        self._listens = True

    def rest(self) -> None:
        """Forget it, and what was kept of it."""
        self._listens = False
        self._waiting.clear()

    async def sound(self, within_s: float) -> bytes | None:
        """Return the next 20 ms; None if none came in time, a key was pressed, or the call is over."""
        if not self._waiting and not self.is_over and not self.keys:
            self._happened.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._happened.wait()
        return self._waiting.popleft() if self._waiting else None

    async def record(self, recording: Recording, part_s: float) -> bool:
        """Hear until so much of a recording is new; False: it is over, by itself, by `#` or as the other hung up.

        What was said before the key or the end is heard first, also where the component is late.
        """
        while recording.new_s < part_s:
            if recording.is_over or (not self._waiting and (self.is_over or END_KEY in self.keys)):
                return False
            if END_KEY not in self.keys:
                self.keys = ""
            pcm = await self.sound(LOOK_S)
            if pcm is not None:
                recording.hear(pcm)
            elif not self.keys and not self.is_over:
                recording.hear_nothing(LOOK_S)
        return True

    async def _read(self) -> None:
        with suppress(CallError):  # that something is no piece ends the call at external/calls too
            async for piece in pieces_of(self._heard):
                self._hear(piece)
        self.over.set()
        self._happened.set()

    def _hear(self, piece: Piece) -> None:
        if piece.kind == DIGIT:
            self.keys = (self.keys + piece.content.decode())[-DIGITS_KEPT:]
        elif piece.kind == SOUND and self._listens:
            self._waiting.append(piece.content)
        else:
            return
        self._happened.set()
