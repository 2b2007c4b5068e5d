"""A component in a loop whose filters the operator has waived: it makes threads, as it may, and another process."""

import asyncio
import os
import signal
import threading

from tlsrt import Component, handler


class Parent(Component):
    """What the filters would have stopped."""

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
