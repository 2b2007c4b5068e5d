"""The one clock of tokens and frames."""

from __future__ import annotations

import time
from typing import NamedTuple

_BOOTTIME = time.CLOCK_BOOTTIME


class Moment(NamedTuple):
    """One reading of both clocks of a host, in ms."""

    now: int  # CLOCK_BOOTTIME: for tokens, frames and all that lasts
    wall: int  # wall time: for certificates, and for what is stored


def boottime_ms() -> int:
    """Return CLOCK_BOOTTIME in ms (clock_gettime(2)). It counts through suspend and cannot be stepped."""
    return time.clock_gettime_ns(_BOOTTIME) // 1_000_000
