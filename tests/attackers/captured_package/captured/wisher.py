"""A component that asks the kernel for what its `needs` may have got it."""

from __future__ import annotations

import ctypes
import errno
import os
import socket

from tlsrt import Component, handler
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Wisher(Component):
    """Opens, connects and calls; every answer is "allowed" or the name of an errno."""

    @handler
    async def open(self, path: str, write: bool = False) -> str:
        """Open a file for reading, or make it for writing."""
        flags = os.O_WRONLY | os.O_CREAT if write else os.O_RDONLY
        try:
            os.close(os.open(path, flags | os.O_CLOEXEC, 0o600))
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "allowed"

    @handler
    async def reach(self, address: str, port: int) -> str:
        """Connect over TCP."""
        try:
            with socket.socket() as client:
                client.settimeout(5)
                client.connect((address, port))
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, "ETIMEDOUT")
        return "allowed"

    @handler
    async def call_kernel(self, name: str, arguments: list[int]) -> str:
        """Make a system call with these registers."""
        registers = [ctypes.c_ulong(value) for value in arguments]
        result = _libc.syscall(ctypes.c_long(NUMBERS[os.uname().machine][name]), *registers)
        return errno.errorcode[ctypes.get_errno()] if result < 0 else "allowed"
