"""What is uploaded, cut into parts that fit one frame each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

from tlsrt.errors import InvalidArgument

PART_BYTES = 64 * 1024
_END = object()


async def parts_of(data: object) -> AsyncIterator[bytes]:
    """Yield bytes, a binary file, or an iterable of bytes (an async one too) in parts of at most 64 KiB.

    A file and an iterable are read in a thread, so that a slow one does not hold up the event loop. What a file has is
    taken as it comes, and not waited for until a part is full.
    """
    async for piece in _pieces(data):
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            raise InvalidArgument(f"an upload consists of bytes, not of {type(piece).__name__}")
        whole = bytes(piece)
        for at in range(0, len(whole), PART_BYTES):
            yield whole[at : at + PART_BYTES]


async def _pieces(data: Any) -> AsyncIterator[object]:
    if isinstance(data, (bytes, bytearray, memoryview)):
        yield data
    elif hasattr(data, "read"):
        read = getattr(data, "read1", data.read)
        while piece := await asyncio.to_thread(read, PART_BYTES):
            yield piece
    elif isinstance(data, AsyncIterable):
        async for piece in data:
            yield piece
    elif isinstance(data, (list, tuple)):
        for piece in data:
            yield piece
    elif isinstance(data, Iterable) and not isinstance(data, str):
        pieces = iter(data)
        while (piece := await asyncio.to_thread(next, pieces, _END)) is not _END:
            yield piece
    else:
        raise InvalidArgument(f"cannot upload a {type(data).__name__}: give bytes, a file or an iterable of bytes")
