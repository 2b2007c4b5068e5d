"""The voice of a component in a call: texts as pieces of sound, by secondary/speech. asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from tlsrt import Component, Failed
from tlsrt.loops.external.call_sound import SpokenSamples
from tlsrt.loops.sampling.wav import WavError, WavReader

SPEECH = "secondary/speech"


async def spoken(component: Component, text: str, voice: str) -> AsyncIterator[bytes]:
    """Yield a text as 20 ms of samples each, while it is spoken. Raises CallError.

    The component needs the right to `speak` of secondary/speech.
    """
    reader, made = WavReader(), None
    async with aclosing(component.stream(SPEECH, "speak", text, voice)) as parts:  # type: ignore[type-var]
        async for part in parts:
            try:
                samples = reader.feed_untrusted(part)
            except WavError as error:
                raise Failed(f"{SPEECH}: {error}") from None
            if made is None and reader.format is not None:
                made = SpokenSamples(*reader.format)
            if made is not None:
                for piece in made.feed(samples):
                    yield piece
    if made is not None:
        for piece in made.end():
            yield piece
