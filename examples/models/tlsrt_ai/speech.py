"""Speech to text by faster-whisper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from tlsrt import Component, handler, worker_of


@dataclass(frozen=True)
class Text:
    """What was said, in how many seconds of sound, and how long it took."""

    text: str
    audio_s: float
    took_s: float


class Whisper(Protocol):
    """The functions of the worker, tlsrt_ai.whisper."""

    async def transcribe(self, audio: AsyncIterator[bytes]) -> Text: ...


class Speech(Component):
    """Speech to text, offline."""

    whisper = worker_of("whisper", Whisper, idle="5m")

    @handler
    async def transcribe(self, audio: AsyncIterator[bytes]) -> Text:
        """16 kHz mono s16le; the text, when all of it has come."""
        return await self.whisper.transcribe(audio)
