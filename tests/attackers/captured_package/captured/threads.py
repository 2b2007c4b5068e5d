"""A component that works in threads, and tries for more of them than it may have."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import threading
import time
from typing import Any

from tlsrt import Component, handler

_libc = ctypes.CDLL(None, use_errno=True)


def _thread_name() -> str:
    return threading.current_thread().name


def burn(seconds: float) -> int:
    """Compute without waiting for anything; return how much."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        count += 1
    return count


class Worker(Component):
    """Does what its user says in threads."""

    _go = threading.Event()

    @handler
    async def where(self) -> list[str]:
        """The names of the threads in which work, asyncio.to_thread, and a look-up of a name's address run."""
        infos = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        return [await self.work(_thread_name), await asyncio.to_thread(_thread_name), str(infos[0][4][0])]

    @handler
    async def crunch(self, seconds: float, threads: int) -> int:
        """Compute in so many threads at once."""
        counts = await asyncio.gather(*(self.work(burn, seconds) for _ in range(threads)))
        self.count("crunched", threads)
        self.log.info("crunched", extra={"threads": threads, "note": "a\nb"})
        return sum(counts)

    @handler
    async def hold(self, timeout_s: float | None = None) -> None:
        """Occupy a thread until `let_go`."""
        await self.work(self._go.wait, timeout_s=timeout_s)

    @handler
    async def let_go(self) -> None:
        self._go.set()

    @handler
    async def start_threads(self, count: int) -> Any:
        """Start threads by hand until it is refused; return how many run, and why there are not more."""
        stop, threads, why = threading.Event(), list[threading.Thread](), ""
        for _ in range(count):
            thread = threading.Thread(target=stop.wait, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                why = str(error)
                break
            threads.append(thread)
        stop.set()
        for thread in threads:
            thread.join()
        return [len(threads), why]

    @handler
    async def churn(self, rounds: int) -> int:
        """Start and join a thread again and again."""
        for _ in range(rounds):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
        return rounds

    @handler
    async def make(self, flags: int) -> str:
        """Ask the kernel for a task with these flags; the name of the error."""
        if _libc.syscall(56, flags, 0, 0, 0, 0) < 0:  # clone of x86_64, without a stack: with CLONE_VM it would crash
            return errno.errorcode[ctypes.get_errno()]
        return "made"
