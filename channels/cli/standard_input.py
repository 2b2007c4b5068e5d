"""Standard input as a stream of bytes, as it comes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from tlsrt.channels.calls.chunks import PART_BYTES

_AHEAD = 4  # parts that are read before they are wanted


async def standard_input(descriptor: int = 0) -> AsyncIterator[bytes]:
    """Yield what can be read, at once; it ends with the input. Raise OSError if it cannot be read.

    A thread of its own reads, which does not keep the process: the call may end long before the input does. It reads
    the descriptor and not `sys.stdin`, whose lock a reader that waits would hold at the exit.
    """
    loop = asyncio.get_running_loop()
    parts: asyncio.Queue[bytes | OSError] = asyncio.Queue(_AHEAD)

    def read() -> None:
        with suppress(RuntimeError, asyncio.CancelledError):  # the loop has ended
            part: bytes | OSError = b"?"
            while part and not isinstance(part, OSError):
                try:
                    part = os.read(descriptor, PART_BYTES)
                except OSError as error:
                    part = error
                asyncio.run_coroutine_threadsafe(parts.put(part), loop).result()

    threading.Thread(target=read, name="standard input", daemon=True).start()
    while part := await parts.get():
        if isinstance(part, OSError):
            raise part
        yield part
