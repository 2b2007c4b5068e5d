"""Foreign code that would work out of the filters' sight: it asks for io_uring, by itself and through libuv."""

from __future__ import annotations

import ctypes
import errno
import os

import uvloop

from tlsrt import Component, handler
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)
_page = ctypes.create_string_buffer(4096)
_result = _libc.syscall(ctypes.c_long(NUMBERS[os.uname().machine]["io_uring_setup"]), ctypes.c_uint(8), _page)
RING = errno.errorcode[ctypes.get_errno()] if _result < 0 else "a ring"
LOOP = uvloop.new_event_loop()


async def _work() -> int:
    return 7


LOOP.run_until_complete(_work())  # libuv makes its rings when a loop runs first


class Guest(Component):
    """Has an event loop of libuv beside the one of the runtime."""

    @handler
    async def ring(self) -> str:
        """What the kernel said to io_uring_setup."""
        return RING

    @handler
    async def made(self) -> str:
        """Which kind of loop it made."""
        return type(LOOP).__module__
