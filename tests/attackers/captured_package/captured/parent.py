"""A component in a loop whose filters the operator has waived: it makes threads, as it may, and another process.

One of its threads can be told to sleep, and later to change itself.
"""

import asyncio
import ctypes
import os
import signal
import struct
import threading

from tlsrt import Component, handler

_FILTERS = 9  # more than any profile has
_libc = ctypes.CDLL(None)
_wake = threading.Event()


def _change_when_woken() -> None:
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))  # a filter that allows all
    program = ctypes.create_string_buffer(struct.pack("HP", 1, ctypes.addressof(code)))
    _wake.wait()
    for _ in range(_FILTERS):
        _libc.prctl(22, 2, program, 0, 0)  # PR_SET_SECCOMP: of this thread alone
    threading.Event().wait()


class Parent(Component):
    """What the filters would have stopped."""

    @handler
    async def sleep(self) -> None:
        """Begin a thread that waits to be woken."""
        threading.Thread(target=_change_when_woken, daemon=True).start()

    @handler
    async def wake(self) -> None:
        """Let it change itself and sleep for ever."""
        _wake.set()

    @handler
    async def think(self, threads: int) -> int:
        """Work in threads that all live at the same time; return how many."""
        barrier = threading.Barrier(threads)
        return len(await asyncio.gather(*(asyncio.to_thread(barrier.wait, 10) for _ in range(threads))))

    @handler
    async def bear(self) -> int:
        """Make a process whose parent is gone at once, and that waits for ever."""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                while True:
                    signal.pause()
            os._exit(0)
        os.waitpid(pid, 0)
        return pid
