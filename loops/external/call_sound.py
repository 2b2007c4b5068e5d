"""Sound of calls as services of speech have it, and back: 16 kHz of what is heard, 48 kHz of what is spoken. Pure.

Samples are 16 bit little-endian, one channel. What is heard is averaged by three, which takes off what speech does not
need; what is spoken is interpolated along straight lines.
"""

from __future__ import annotations

import array
import math
import struct
import sys

from tlsrt.loops.external.call_leg import PIECE_BYTES, RATE, SAMPLES

HEARD_RATE = RATE // 3  # hertz, of models that hear
_LOUD = 0.25  # of a tone, of full scale
_EDGE = 480  # samples in which a tone grows and fades, so that it does not click


def heard_samples(pcm: bytes) -> bytes:
    """Return what was heard at 48 kHz at 16 kHz; of what is no multiple of three samples the rest is left out."""
    values = _values(pcm)
    thirds = zip(values[::3], values[1::3], values[2::3], strict=False)
    return _bytes(array.array("h", [(one + two + three) // 3 for one, two, three in thirds]))


class SpokenSamples:
    """Makes pieces of 20 ms at 48 kHz of samples of another rate, in one or two channels, that come in any parts."""

    def __init__(self, rate: int, channels: int = 1) -> None:
        self._step = rate  # from one sample to the next, of which RATE are one of those that come
        self._frame = 2 * channels
        self._rest = b""  # of a frame that is not whole
        self._values = array.array("h")  # what the next samples lie in
        self._at = 0  # where the next one lies there, in steps of 1 / RATE: exact, in whatever parts it comes
        self._made = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces that are whole now."""
        data = self._rest + data
        size = len(data) - len(data) % self._frame
        self._rest = data[size:]
        values = self._values + _values(data[:size])[:: self._frame // 2]
        at, step, made = self._at, self._step, array.array("h")
        end = (len(values) - 1) * RATE
        while at < end:
            below, above = divmod(at, RATE)
            made.append(values[below] + (values[below + 1] - values[below]) * above // RATE)
            at += step
        taken = min(at // RATE, len(values))
        self._values, self._at = values[taken:], at - taken * RATE
        self._made += _bytes(made)
        return self._pieces()

    def end(self) -> list[bytes]:
        """Return the last piece, filled up with silence."""
        self._made += bytes(-len(self._made) % PIECE_BYTES)
        return self._pieces()

    def _pieces(self) -> list[bytes]:
        whole = len(self._made) // PIECE_BYTES * PIECE_BYTES
        pieces = [bytes(self._made[at : at + PIECE_BYTES]) for at in range(0, whole, PIECE_BYTES)]
        del self._made[:whole]
        return pieces


def tone(hertz: float, seconds: float) -> list[bytes]:
    """Return the pieces of a tone, 20 ms each."""
    count = round(seconds * RATE / SAMPLES) * SAMPLES
    values = [
        round(32767 * _LOUD * min(1, at / _EDGE, (count - at) / _EDGE) * math.sin(2 * math.pi * hertz * at / RATE))
        for at in range(count)
    ]
    data = _bytes(array.array("h", values))
    return [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]


def wav_file(samples: bytes, rate: int) -> bytes:
    """Return samples as a WAV file (RIFF WAVE, format 1)."""
    return (
        struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16,
                    b"data", len(samples))
        + samples
    )  # fmt: skip


def _values(data: bytes) -> array.array[int]:
    values = array.array("h", data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _bytes(values: array.array[int]) -> bytes:
    if sys.byteorder == "big":
        values = array.array("h", values)
        values.byteswap()
    return values.tobytes()
