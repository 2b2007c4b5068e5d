"""A clock that a test can step, in every process of one host at once; the machine's own is never touched.

Two offsets lie in a small file that all processes of the host map (see `trap` on why a mapping): of the wall clock, and
of CLOCK_BOOTTIME, which jumps when a machine has been suspended. CLOCK_MONOTONIC, which does not, stays as it is: all
waiting of asyncio and epoll goes by it. This file is also run as text in the supervisor, so it imports nothing of ours.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

SIZE = 4096
_WALL, _BOOT = 0, 8


class Clock:
    """The two offsets, in ms."""

    def __init__(self, path: str | Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, SIZE)
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)

    def _get(self, at: int) -> int:
        offset: int = struct.unpack_from("<q", self._map, at)[0]
        return offset

    @property
    def wall_ms(self) -> int:
        return self._get(_WALL)

    @property
    def boot_ms(self) -> int:
        return self._get(_BOOT)

    def step_wall(self, by_ms: int) -> None:
        """Somebody sets the clock of the host."""
        struct.pack_into("<q", self._map, _WALL, self.wall_ms + by_ms)

    def suspend(self, for_ms: int) -> None:
        """The host sleeps and wakes up again."""
        struct.pack_into("<q", self._map, _BOOT, self.boot_ms + for_ms)


def install_clock(path: str | Path) -> None:
    """Have this process and its children go by the file: `time.time` and CLOCK_BOOTTIME, as tlsrt reads them."""
    clock = Clock(path)
    real_time, real_time_ns, real_get, real_get_ns = time.time, time.time_ns, time.clock_gettime, time.clock_gettime_ns

    def get(number: int) -> float:
        return real_get(number) + (clock.boot_ms / 1000 if number == time.CLOCK_BOOTTIME else 0)

    def get_ns(number: int) -> int:
        return real_get_ns(number) + (clock.boot_ms * 1_000_000 if number == time.CLOCK_BOOTTIME else 0)

    time.time = lambda: real_time() + clock.wall_ms / 1000
    time.time_ns = lambda: real_time_ns() + clock.wall_ms * 1_000_000
    time.clock_gettime, time.clock_gettime_ns = get, get_ns


def clock_prelude(path: Path) -> str:
    """Return Python text that installs the clock in the process that runs it."""
    text = f"{Path(__file__).read_text()}\ninstall_clock({str(path)!r})\n"
    return f"exec(compile({text!r}, 'clock', 'exec'), {{'__name__': 'clock'}})\n"
