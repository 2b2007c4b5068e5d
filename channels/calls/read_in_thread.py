"""What a thread reads for an event loop that cannot wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """The end of what is read, and the error that it ended with."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


async def read_in_thread(items: Iterable[Item], name: str, *, ahead: int = 1) -> AsyncGenerator[Item]:
    """Yield what a thread of its own takes out of `items`, at most so many before they are wanted.

    The source may wait for ever, as a terminal or a socket does. So the thread keeps neither the event loop nor the
    process, as one of an executor would: both may end while it reads. It takes no more when no one asks any more.
    """
    loop = asyncio.get_running_loop()
    taken: asyncio.Queue[Item | _End] = asyncio.Queue()  # bounded by `room`
    room = threading.Semaphore(ahead)
    is_over = threading.Event()

    def read() -> None:
        end = _End(None)
        try:
            room.acquire()
            for item in items:
                loop.call_soon_threadsafe(taken.put_nowait, item)
                room.acquire()
                if is_over.is_set():
                    return
        except BaseException as error:  # it belongs to who asks for more
            end.error = error
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(taken.put_nowait, end)

    threading.Thread(target=read, name=name, daemon=True).start()
    try:
        while True:
            item = await taken.get()
            if not isinstance(item, _End):
                room.release()
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        is_over.set()
        room.release()
