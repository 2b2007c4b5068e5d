"""Primary's end of a link. What its recipient does not take yet waits for each source apart, and leaves in turns."""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.links.fair_queue import FairQueue
from tlsrt.channels.links.frame_queue import EARLY_FRAMES
from tlsrt.channels.links.link import Link
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.errors import Busy

BYTES_MAX = 16 * 1024 * 1024  # that wait for one recipient


class GateLink(Link):
    """A link to one loop, whose frames come from many."""

    def __init__(
        self, batch: WriteBatch, on_frame: Callable[[bytes], object], on_refused: Callable[[str], None], *,
        queue_max: int = 1024,
    ) -> None:  # fmt: skip
        super().__init__(batch, on_frame, on_refused, queue_max=queue_max)
        self._later = FairQueue(queue_max, BYTES_MAX)

    @property
    def depth(self) -> int:
        return len(self._queue) + self._later.count

    def send_from(self, source: str, frame: bytes) -> None:
        """Send a frame that is charged to `source`; raise Busy when its share of the queue is full."""
        ready = self._ready
        if ready is not None and not ready.waits and not self._later.count:
            self.send(frame)
        elif not self._later.put(source, frame):
            raise Busy("the recipient does not keep up")

    def flush(self) -> None:
        """Write what is of this turn, then of what waits so much as is taken."""
        super().flush()
        later, queue = self._later, self._queue
        while later.count and not queue and (ready := self._ready) is not None and not ready.waits:
            for _ in range(min(EARLY_FRAMES, later.count)):
                queue.append(later.take())
            super().flush()

    def _take_unsent(self) -> list[bytes]:
        return [*super()._take_unsent(), *self._later.take_all()]
