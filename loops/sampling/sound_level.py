"""How loud samples are: RMS and peak in dB below full scale. Pure."""

from __future__ import annotations

import array
import math
import sys
from typing import NamedTuple

_FULL = 32768
LEAST_DB = -96.3  # of 16 bits; silence is not minus infinity, which no number of JSON is


class Level(NamedTuple):
    """RMS and peak of some samples, dB of full scale: 0 is the loudest."""

    rms_db: float
    peak_db: float


def level_of(samples: bytes) -> Level | None:
    """Return how loud samples of 16 bits, little-endian, are, over all channels; None without any."""
    values = array.array("h", samples[: len(samples) // 2 * 2])
    if sys.byteorder == "big":
        values.byteswap()
    if not values:
        return None
    rms = math.sqrt(sum(one * one for one in values) / len(values))
    return Level(_db(rms), _db(max(max(values), -min(values))))


def _db(value: float) -> float:
    return round(max(LEAST_DB, 20 * math.log10(value / _FULL)) if value > 0 else LEAST_DB, 1)
