"""Readers: files that are sent as streams, with a bound in all and for each caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial

from tlsrt import BoundedTable, Busy, DiskThread, DiskWork, WhenFull
from tlsrt.loops.third.folder import OpenFile

CHUNK_BYTES = 32 * 1024
AT_ONCE_BYTES = 4 * CHUNK_BYTES  # read at once: each time costs a way to the disk thread and back
READERS = 64  # open streams; each holds a descriptor
READERS_SHARE = READERS // 4  # of one caller


class Readers:
    """The open streams of a component."""

    def __init__(self, disk: DiskThread) -> None:
        self._disk = disk
        self._open: BoundedTable[OpenFile, None] = BoundedTable(READERS, READERS_SHARE, WhenFull.REFUSE)

    async def stream(self, caller: str, open_it: Callable[[], int], offset: int) -> AsyncGenerator[bytes, None]:
        """Give the bytes of the file that `open_it` opens in the disk thread, from `offset` on. Raises a CallError."""
        file = OpenFile(open_it)
        if not self._open.add(file, None, caller).is_added:
            raise Busy(f"{READERS_SHARE} files are being read for one caller, or {READERS} for all: try again later")
        try:
            while data := await self._disk.run(caller, DiskWork(partial(file.read, AT_ONCE_BYTES, offset))):
                offset += len(data)
                for at in range(0, len(data), CHUNK_BYTES):
                    yield data[at : at + CHUNK_BYTES]
        finally:
            self._open.remove(file)
            self._disk.post(caller, DiskWork(file.close))

    def __len__(self) -> int:
        return len(self._open)
