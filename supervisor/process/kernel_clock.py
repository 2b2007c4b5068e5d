"""Whether the kernel's clock is held by a time server: adjtimex(2), asked and not changed."""

from __future__ import annotations

import ctypes
import sys

from tlsrt.sandbox import syscalls

_TIMEX_BYTES = 256  # struct timex has 208
_STATUS = slice(40, 44)  # behind modes, offset, freq, maxerror and esterror
_UNSYNCHRONISED = 0x0040  # STA_UNSYNC


def is_clock_synchronised() -> bool | None:
    """Return whether it is; None where the kernel does not say. With modes 0 nothing is set."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    if syscalls.libc().adjtimex(buffer) < 0:
        return None
    return not int.from_bytes(buffer.raw[_STATUS], sys.byteorder) & _UNSYNCHRONISED
