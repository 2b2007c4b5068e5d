"""What is uploaded, cut into parts that fit one frame each."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from tlsrt.channels.calls.read_in_thread import read_in_thread
from tlsrt.errors import InvalidArgument

PART_BYTES = 64 * 1024


async def parts_of(data: object) -> AsyncIterator[bytes]:
    """Yield bytes, a binary file, or an iterable of bytes (an async one too) in parts of at most 64 KiB.

    A file and an iterable are read in a thread, so that a slow one holds up neither the event loop nor the end of the
    process. What a file has is taken as it comes, and not waited for until a part is full.
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
        async for piece in read_in_thread(_read(getattr(data, "read1", data.read)), "upload"):
            yield piece
    elif isinstance(data, AsyncIterable):
        async for piece in data:
            yield piece
    elif isinstance(data, (list, tuple)):
        for piece in data:
            yield piece
    elif isinstance(data, Iterable) and not isinstance(data, str):
        async for piece in read_in_thread(data, "upload"):
            yield piece
    else:
        raise InvalidArgument(f"cannot upload a {type(data).__name__}: give bytes, a file or an iterable of bytes")


def _read(read: Callable[[int], object]) -> Iterator[object]:
    while piece := read(PART_BYTES):
        yield piece
