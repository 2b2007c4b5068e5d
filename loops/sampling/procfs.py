"""Reading facts from /proc and /sys for the built-in components.

A fact that the host does not offer is None, never 0; every unit is in the name of its key. Files are read with one
bounded read, because the kernel makes their content at that moment and a second read may disagree with the first.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

from tlsrt import Range

TEXT_BYTES = 64 * 1024  # more than any file read here is on a large host, except /proc/stat and cpuinfo (which say so)
Interval = Annotated[float, Range(0.1, 3600.0)]  # seconds between two samples of a `watch` stream


def read_text(path: Path, limit: int = TEXT_BYTES) -> str | None:
    """Return the stripped text of a file, at most `limit` bytes of it, or None if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return _read_all(descriptor, limit).decode("utf-8", "replace").strip("\0\n\t ")
    except OSError:  # sensors answer EIO or ENODATA while they sleep
        return None
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, limit: int) -> bytes:
    """Read to the end: seq_file answers in pages."""
    parts: list[bytes] = []
    while limit > 0 and (part := os.read(descriptor, limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def to_int(text: str | None) -> int | None:
    """Return the number in a text, or None."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def read_int(path: Path) -> int | None:
    """Return the number in a file, or None if it cannot be read or holds none."""
    return to_int(read_text(path, 64))


def scaled(value: int | None, divisor: float) -> float | None:
    """Return `value / divisor`, or None for no value."""
    return None if value is None else value / divisor


def names(folder: Path) -> list[str]:
    """Return the sorted names in a folder, none if there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def read_numbers(path: Path) -> dict[str, int]:
    """Return a file of lines `Name: 12 kB` (meminfo) or `name 12` (vmstat) as numbers by name."""
    numbers: dict[str, int] = {}
    for line in (read_text(path) or "").splitlines():
        words = line.replace(":", " ").split()
        value = to_int(words[1]) if len(words) >= 2 else None
        if value is not None:
            numbers[words[0]] = value
    return numbers


def awake_s() -> float:
    """Return the seconds since the machine's start, with those of its sleep: a gap is one also if it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def clocks() -> dict[str, int]:
    """Return when a snapshot was taken: monotonic_ms since boot with suspend counted, wall_ms since 1970."""
    return {
        "monotonic_ms": time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        "wall_ms": time.time_ns() // 1_000_000,
    }
