"""A sound that is uploaded: its format, then its samples, not longer than it may be."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tlsrt.loops.sampling.wav import SoundFormat, WavError, WavReader


class Upload:
    """A sound that comes: its format, then its samples, not longer than it may be."""

    def __init__(self, sound: AsyncIterator[bytes], raw: SoundFormat | None, most_s: float) -> None:
        self._sound = sound
        self._wav = None if raw is not None else WavReader()
        self._raw = raw
        self._most_s = most_s
        self._first = b""
        self._count = 0

    @property
    def format(self) -> SoundFormat | None:
        return self._raw if self._wav is None else self._wav.format

    @property
    def seconds(self) -> float:
        """Return how much was given to be played."""
        return self._count / self.format.bytes_per_s if self.format is not None else 0.0

    async def begin(self) -> bool:
        """Read until the format is known; return whether there are samples. Raises WavError."""
        async for piece in self._sound:
            self._first = self._feed(piece)
            if self._first or (self._wav is not None and self._wav.is_begun):
                return True
        if self._wav is not None:
            raise WavError("it ends before its samples")
        return False

    def _feed(self, piece: bytes) -> bytes:
        return piece if self._wav is None else self._wav.feed_untrusted(piece)

    async def samples(self) -> AsyncIterator[bytes]:
        """Give the samples. Raises WavError for more than may be."""
        assert self.format is not None
        most = round(self._most_s * self.format.bytes_per_s)
        piece = self._first
        while True:
            self._count += len(piece)
            if self._count > most:
                raise WavError(f"it is longer than {self._most_s:g} s")
            if piece:
                yield piece
            try:
                piece = self._feed(await anext(self._sound))
            except StopAsyncIteration:
                return
