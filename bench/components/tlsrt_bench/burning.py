"""A component that burns processors in threads, for `make bench-platform`."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from tlsrt import Component, handler

numpy: Any = importlib.import_module("numpy") if importlib.util.find_spec("numpy") else None  # else: no BLAS to burn
THREADS = 4
SIDE = 384  # of a matrix


def _hash() -> object:
    return hashlib.sha256(bytes(1 << 20)).digest()  # without the lock of the interpreter


def _multiply() -> object:
    matrix: Any = numpy.ones((SIDE, SIDE))
    return matrix @ matrix


def _repeat(work: Callable[[], object], end: float) -> int:
    count = 0
    while time.monotonic() < end:
        work()
        count += 1
    return count


class Burner(Component):
    """Keeps four threads busy."""

    @handler
    async def kinds(self) -> list[str]:
        """What can be burnt here."""
        return ["hash"] if numpy is None else ["hash", "blas"]

    @handler
    async def burn(self, kind: str, seconds: float) -> int:
        """Burn four threads for so long; return how much was done."""
        work, end = {"hash": _hash, "blas": _multiply}[kind], time.monotonic() + seconds
        return sum(await asyncio.gather(*(self.work(_repeat, work, end) for _ in range(THREADS))))
