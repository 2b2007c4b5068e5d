"""WAV files that come in pieces: their format, then their samples (RIFF WAVE, 16 bits). Pure.

What is accepted are samples of 16 bits without compression. Chunks before the samples are skipped, up to a bound.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER_BYTES = 64 << 10  # all before the samples; tags and pictures of a file can be there
RATES = (8000, 48000)
CHANNELS = (1, 2)
_PCM, _EXTENSIBLE = 1, 0xFFFE
_ENDLESS = (0, 0xFFFFFFFF)  # the length that a program writes which cannot know it


class WavError(ValueError):
    """What comes is no WAV file that can be read; the text says why."""


class SoundFormat(NamedTuple):
    """Samples of 16 bits, little-endian: how many a second, in how many channels."""

    rate: int
    channels: int

    @property
    def bytes_per_s(self) -> int:
        """Return how many bytes a second has."""
        return self.rate * self.channels * 2


class WavReader:
    """The samples of a WAV file; `format` is known from the first piece of samples on."""

    def __init__(self) -> None:
        self.format: SoundFormat | None = None
        self._rest = bytearray()
        self._left: int | None = None  # bytes of samples that still come; None before them, -1 without a bound
        self._skipped = 0
        self._is_riff = False

    def feed_untrusted(self, data: bytes) -> bytes:
        """Return the samples in this piece. Raises WavError."""
        if self._left is not None:
            return self._samples(data)
        self._rest += data
        while (chunk := self._next_chunk()) is not None:
            if self._left is not None:
                return self._samples(chunk)
        return b""

    @property
    def is_begun(self) -> bool:
        """Tell whether samples have begun."""
        return self._left is not None

    def _samples(self, data: bytes) -> bytes:
        assert self._left is not None
        if self._left < 0:
            return data
        data = data[: self._left]
        self._left -= len(data)
        return data

    def _next_chunk(self) -> bytes | None:
        """Take one chunk from the rest; return what follows it, None if it is not whole."""
        if not self._is_riff:
            if len(self._rest) < 12:
                return None
            if bytes(self._rest[:4]) not in (b"RIFF", b"RF64") or self._rest[8:12] != b"WAVE":
                raise WavError("it is no WAV file: it begins otherwise")
            self._is_riff = True
            self._take(12)
        if len(self._rest) < 8:
            return None
        name, size = bytes(self._rest[:4]), int.from_bytes(self._rest[4:8], "little")
        if name == b"data":
            if self.format is None:
                raise WavError("it is no WAV file: its samples come before their format")
            self._left = -1 if size in _ENDLESS else size
            self._take(8)
            rest = bytes(self._rest)
            self._rest.clear()
            return rest
        whole = 8 + size + size % 2
        if self._skipped + whole > HEADER_BYTES:
            raise WavError(f"there are more than {HEADER_BYTES >> 10} KiB before its samples")
        if len(self._rest) < whole:
            return None
        if name == b"fmt ":
            self.format = _format_untrusted(bytes(self._rest[8 : 8 + size]))
        self._take(whole)
        return b""

    def _take(self, count: int) -> None:
        self._skipped += count
        del self._rest[:count]


def _format_untrusted(chunk: bytes) -> SoundFormat:
    """Return what a `fmt ` chunk says. Raises WavError."""
    if len(chunk) < 16:
        raise WavError("it is no WAV file: its format is cut off")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        kind = int.from_bytes(chunk[24:26], "little")
    if kind != _PCM or bits != 16:
        raise WavError("only samples of 16 bits without compression are read: ffmpeg -i FILE -c:a pcm_s16le NEW.wav")
    return checked_format(rate, channels)


def checked_format(rate: int, channels: int) -> SoundFormat:
    """Return a format that can be read. Raises WavError."""
    if not RATES[0] <= rate <= RATES[1]:
        raise WavError(f"{rate} samples a second: {RATES[0]} to {RATES[1]} are read")
    if not CHANNELS[0] <= channels <= CHANNELS[1]:
        raise WavError(f"{channels} channels: one or two are read")
    return SoundFormat(rate, channels)
