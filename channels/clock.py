"""The one clock of tokens and frames."""

from __future__ import annotations

import time

_BOOTTIME = time.CLOCK_BOOTTIME


def boottime_ms() -> int:
    """Return CLOCK_BOOTTIME in ms (clock_gettime(2)). It counts through suspend and cannot be stepped."""
    return time.clock_gettime_ns(_BOOTTIME) // 1_000_000
