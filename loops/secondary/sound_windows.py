"""A stream of sound as windows that a model writes down one by one: cut in pauses, never longer than it can take. Pure.

Samples of 16 bits, little-endian. A window ends in a pause once it has some seconds; one without a pause is cut where
its last third is quietest. Windows in which nothing is louder than silence are left out.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tlsrt.loops.sampling.wav import SoundFormat

FRAME_S = 0.02
LEAST_S, MOST_S = 4.0, 28.0  # whisper takes 30 s
PAUSE_S = 0.4
_SILENT = 40  # mean of the samples' absolute values: -58 dB of full scale
_PAUSE_OF_LOUDEST = 0.08  # a frame so much quieter than the loudest one is of a pause


class Window(NamedTuple):
    """Some seconds of a sound, and when they begin."""

    start_s: float
    data: bytes


class SoundWindows:
    """Takes pieces, gives windows."""

    def __init__(self, shape: SoundFormat) -> None:
        self._shape = shape
        self._frame = round(shape.rate * FRAME_S) * 2 * shape.channels
        self._data = bytearray()
        self._levels: list[float] = []  # of each whole frame in the data
        self._begun = 0  # bytes that are behind

    def feed(self, piece: bytes) -> Iterator[Window]:
        """Take a piece; give the windows that are whole now."""
        self._data += piece
        while True:
            while (at := len(self._levels) * self._frame) + self._frame <= len(self._data):
                self._levels.append(_level(bytes(self._data[at : at + self._frame])))
                if (cut := self._cut()) and (window := self._take(cut)) is not None:
                    yield window
                    break
            else:
                return

    def end(self) -> Window | None:
        """Give what is left; None if it is nothing or silence."""
        whole = len(self._data) // (2 * self._shape.channels) * 2 * self._shape.channels
        del self._data[whole:]
        return self._take(len(self._levels) + 1) if self._data else None

    def _cut(self) -> int:
        """Return after how many frames a window ends; 0: it goes on."""
        count = len(self._levels)
        if count * FRAME_S < LEAST_S:
            return 0
        quiet = max(_SILENT, max(self._levels) * _PAUSE_OF_LOUDEST)
        pause = round(PAUSE_S / FRAME_S)
        if all(one <= quiet for one in self._levels[-pause:]):
            return count - pause // 2
        if count * FRAME_S < MOST_S:
            return 0
        last = count * 2 // 3
        return last + self._levels[last:].index(min(self._levels[last:])) + 1

    def _take(self, frames: int) -> Window | None:
        size = min(frames * self._frame, len(self._data))
        window = Window(self._begun / self._shape.bytes_per_s, bytes(self._data[:size]))
        is_silent = max(self._levels[:frames], default=0.0) <= _SILENT
        del self._data[:size], self._levels[:frames]
        self._begun += size
        return None if is_silent else window


def _level(frame: bytes) -> float:
    values = array.array("h", frame)
    if sys.byteorder == "big":
        values.byteswap()
    return sum(map(abs, values)) / len(values)
