"""Give free memory of the C heap back to the kernel, after much was in use that is not any more.

What a flood or a slow reader has filled is free when it was cut off, but the C library keeps all that lies below
something still in use: tens of MiB, until the process ends. malloc_trim(3) gives whole free pages back wherever they
lie. It takes some 0.2 ms for each MiB, so it comes at a quiet beat, and not often; to ask what is free takes less than
a microsecond (mallinfo(3), glibc 2.33). Where the C library has neither, nothing is done.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import NamedTuple

from tlsrt.sandbox.syscalls import libc

LEAST = 4 << 20  # bytes that are worth it
QUIET = 512 << 10  # bytes by which the use of a quiet process changes within a beat, at most
PAUSE_BEATS = 10


class HeapUse(NamedTuple):
    """Bytes of the C heap that are in use, and that are free."""

    used: int
    free: int


class FreeHeap:
    """Looks at each beat of a process; `measure` and `trim` are those of the C library."""

    def __init__(self, measure: Callable[[], HeapUse] | None = None, trim: Callable[[], None] | None = None) -> None:
        self._measure = measure or heap_use
        self._trim = trim or trim_heap
        self._peak = 0  # in use, since the last time
        self._used = 0  # at the last beat
        self._free = -1  # after the last time
        self._wait = 0  # beats

    def each_beat(self) -> None:
        """Give back what a peak has left, if the process is quiet."""
        now = self._measure()
        was_used, self._used = self._used, now.used
        self._peak = max(self._peak, now.used)
        self._free = min(self._free, now.free) if self._free >= 0 else now.free
        self._wait = max(0, self._wait - 1)
        gone = max(self._peak - now.used, now.free - self._free)
        if gone < LEAST or self._wait or abs(now.used - was_used) > QUIET:
            return
        self._trim()
        self._wait = PAUSE_BEATS
        self._peak, self._free = now.used, self._measure().free


class _MallocInfo(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def heap_use() -> HeapUse:
    """Return what malloc says of all its arenas; nothing where it cannot be asked."""
    try:
        function = libc().mallinfo2
    except AttributeError:
        return HeapUse(0, 0)
    function.restype = _MallocInfo
    found = function()
    return HeapUse(found.uordblks, found.fordblks)


def trim_heap() -> None:
    """Give all free pages back: malloc_trim(3)."""
    trim = getattr(libc(), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
