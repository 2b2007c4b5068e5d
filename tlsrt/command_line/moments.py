"""Points in time as arguments: `5m` ago, or `2026-11-28 07:30`, as `journalctl` takes them."""

from __future__ import annotations

import argparse
import time
from datetime import datetime

from tlsrt.text import parse_duration, printable

FORMS = "5m (that long ago), 07:30, or 2026-11-28T07:30"


def moment(text: str) -> float:
    """Return the wall time in seconds that an argument means; one without a zone is of this machine's zone."""
    return moment_at(text, time.time())


def moment_at(text: str, now: float) -> float:
    """Return the same, for an argument that was given at `now`. Pure but for the zone."""
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        if len(text) <= 8 and ":" in text:
            text = f"{datetime.fromtimestamp(now):%Y-%m-%d}T{text}"
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f'"{printable(text, 40)}" is no point in time: use {FORMS}') from None


def sequence_or_moment(text: str) -> int | float:
    """Return the number of an event, an int, or a point in time, a float."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    return moment(text)
