"""What waits for one peer: the sending half that both kinds of links have in common.

Frames of a turn leave together at its end (`write_batch.py`); where more than EARLY_FRAMES are made in a turn they
leave in pieces, so that the next process works meanwhile. What the other side does not take stays here, and a full
queue is an explicit `Busy`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.errors import Busy

EARLY_FRAMES = 16  # a turn that makes more sends them in pieces, so that the next process works meanwhile
FEW = 32  # are not counted, since they leave with the turn or wait for the first time; of the largest, 9 MiB
BYTES_MAX = 16 * 1024 * 1024


class FrameQueue(ABC):
    """A bounded queue of sealed frames. Children write from `_queue` in `flush`."""

    def __init__(self, batch: WriteBatch, queue_max: int) -> None:
        self._batch = batch
        self._queue: deque[bytes] = deque()
        self._queue_max = queue_max
        self._flush_at = EARLY_FRAMES
        self._is_closed = False
        self._wanted = False  # by the turn
        self._senders: deque[asyncio.Future[None]] = deque()  # that wait for room, or for the queue to be empty

    @property
    def depth(self) -> int:
        """How many frames wait here."""
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._queue

    def send(self, frame: bytes) -> None:
        """Queue a frame for this turn; raise Busy when the queue is full."""
        queue = self._queue
        if len(queue) >= self._queue_max or (len(queue) >= FEW and sum(map(len, queue)) > BYTES_MAX):
            raise Busy("the channel's queue is full")
        queue.append(frame)
        if not self._wanted:
            self._wanted = True
            self._batch.want(self._end_of_batch)
        elif len(queue) >= self._flush_at:
            self.flush()

    @abstractmethod
    def flush(self) -> None:
        """Write what waits, as far as the other side takes it."""

    def _want(self) -> None:
        if not self._wanted:
            self._wanted = True
            self._batch.want(self._end_of_batch)

    def _end_of_batch(self) -> None:
        self._wanted = False
        self.flush()

    async def wait_for_room(self) -> None:
        """Return when something was taken from the queue, or the link was closed."""
        if self._queue:
            await self._progress()

    async def wait_until_idle(self) -> None:
        """Return when everything was written, or the link was closed."""
        while not self.is_idle and not self._is_closed:
            await self._progress()

    def _progress(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._senders.append(future)
        return future

    def _wake_senders(self) -> None:
        """Wake as many as there is room for; all of them when nothing waits any more."""
        queue, senders = self._queue, self._senders
        for _ in range(min(len(senders), self._queue_max - len(queue)) if queue else len(senders)):
            future = senders.popleft()
            if not future.done():
                future.set_result(None)

    def _take_unsent(self) -> list[bytes]:
        """Return the frames that were never written, and forget them."""
        unsent = list(self._queue)
        self._queue.clear()
        self._is_closed = True
        self._wake_senders()
        return unsent
