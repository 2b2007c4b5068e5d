"""A component that breaks its loop as it is told: by a file, so that it needs no channel to hear of it.

What it took (descriptors, memory) it gives back after a while, if its loop still lives.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chaotic.notes import Notes, monotonic_ms  # type: ignore[import-not-found]
from tlsrt import Component

LOOK_S = 0.05
FOR_EVER_S = 3600.0
HELD_S = 2.0


def _descriptors() -> list[int]:
    held: list[int] = []
    with suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    return held


def _memory() -> list[bytearray]:
    held: list[bytearray] = []
    with suppress(MemoryError):
        while True:
            held.append(bytearray(b"x" * (1 << 20)))
    return held


def _spin() -> None:
    while True:
        sum(range(1000))


def _repeat_nonce() -> None:
    """Seal twice with one nonce, over all lives of all loops: a fault of ours, for the trap to find."""
    AESGCM(bytes(32)).encrypt(bytes(12), b"", None)


FAULTS: dict[str, Callable[[], Any]] = {
    "exit0": lambda: os._exit(0),
    "exit1": lambda: os._exit(1),
    "segv": lambda: ctypes.string_at(0),  # process 1 of its namespace does not die of a signal that is only sent
    "leak": _descriptors,
    "memory": _memory,
    "block": lambda: time.sleep(FOR_EVER_S),
    "spin": _spin,
    "repeat_nonce": _repeat_nonce,
}


class Faulty(Component):
    """Looks for a file `fault-PROCESS` that names a fault."""

    async def start(self) -> None:
        folder, loop = Path(str(self.options["folder"])), str(self.options["process"])
        self.notes = Notes(folder / f"faulty-{loop}.jsonl")
        self.told = folder / f"fault-{loop}"
        self.looking = asyncio.get_running_loop().create_task(self._look())

    async def stop(self) -> None:
        self.looking.cancel()
        self.notes.close()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self.told.exists():
                name = self.told.read_text()
                self.told.unlink()
                self.notes.write("breaks", name, monotonic_ms())
                held = FAULTS[name]()
                self.notes.write("broken", name, monotonic_ms())
                await asyncio.sleep(HELD_S)
                for descriptor in held or ():
                    if isinstance(descriptor, int):
                        os.close(descriptor)
                del held
