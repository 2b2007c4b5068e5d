"""An undo that is kept outside of the host: it is done when its component, or the whole host, has died meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from tlsrt.errors import Failed

_HEADER = struct.Struct("!II")  # as `undo_process.py` of the launcher reads it
_KEPT, _DONE = b"K", b"D"
_ANSWER_S = 10.0


class KeptUndo:
    """Made by `Program.keep_undo`, before the change. It is done at the end of its component, or of its time."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def release(self) -> None:
        """Have it not done: the change is to last, or is undone already. May be called again."""
        with suppress(OSError):
            self._end.send(_DONE)
        self._end.close()


async def keep(end: socket.socket, requests: bytes, seconds: int) -> KeptUndo:
    """Have an undo kept. Raises Failed if it is not."""
    loop = asyncio.get_running_loop()
    answer = b""
    try:
        async with asyncio.timeout(_ANSWER_S):
            with suppress(ConnectionError):
                await loop.sock_sendall(end, _HEADER.pack(len(requests), seconds) + requests)
                answer = await loop.sock_recv(end, 64)
    except TimeoutError:
        answer = b"Rno answer"
    except BaseException:
        end.close()
        raise
    if answer != _KEPT:
        end.close()
        why = answer[1:].decode("ascii", "replace") or "this host keeps none, or 8 already"
        raise Failed(f"no process outside of the host would undo it: {why}")
    return KeptUndo(end)
