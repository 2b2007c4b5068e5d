"""Samples of 16 bits as floats of 16 kHz mono, piece by piece: linear interpolation, which speech models bear."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE = 16_000


class Resampler:
    """Gives samples of another rate and number of channels as 16 kHz mono, between -1 and 1."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._channels = channels
        self._bytes = b""  # of a frame that is not whole
        self._rest: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._at = 0.0  # where the next sample of the output lies in `_rest`

    def feed(self, data: bytes) -> npt.NDArray[np.float32]:
        """Return the samples that are known now."""
        data = self._bytes + data
        size = len(data) // (2 * self._channels) * 2 * self._channels
        self._bytes = data[size:]
        values = np.frombuffer(data[:size], "<i2").astype(np.float32).reshape(-1, self._channels)
        frames = np.asarray(values.mean(axis=1) / 32768, np.float32)
        if self._rate == RATE:
            return frames
        rest = np.concatenate([self._rest, frames])
        step = self._rate / RATE
        count = max(0, int((len(rest) - 1 - self._at) / step) + 1) if len(rest) else 0
        places = self._at + step * np.arange(count)
        found = np.interp(places, np.arange(len(rest)), rest).astype(np.float32) if count else np.zeros(0, np.float32)
        after = self._at + step * count
        dropped = min(int(after), len(rest))
        self._rest, self._at = rest[dropped:], after - dropped
        return found
