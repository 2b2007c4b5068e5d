"""Fair queue: what waits for a slow recipient, a queue for each source, served in turn. Pure.

Theory of operation. Deficit round robin: each source that waits may send QUANTUM bytes in its turn, and what a large
frame takes too much is missing in its next turns. A source is what is charged: a loop, or a client with all of its
connections. Frames of one source keep their order. Dynamic thresholds: a source may fill as much as is still free, so
one that floods takes half of the room, two a third each, and a later one always finds some.
"""

from __future__ import annotations

from collections import deque

QUANTUM = 4096  # bytes a turn


class _Lot:
    """What waits of one source."""

    __slots__ = ("credit", "frames", "size", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.frames: deque[bytes] = deque()
        self.size = 0
        self.credit = QUANTUM


class FairQueue:
    """At most so many frames and bytes of all sources together."""

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self._frames_left = frames_max
        self._bytes_left = bytes_max
        self._lots: dict[str, _Lot] = {}
        self._turns: deque[_Lot] = deque()
        self.count = 0  # of frames that wait

    def put(self, source: str, frame: bytes) -> bool:
        """Take a frame; False if its source has filled its share, or nothing is left."""
        lot = self._lots.get(source)
        count, size = (len(lot.frames), lot.size) if lot is not None else (0, 0)
        if count >= self._frames_left or size + len(frame) > self._bytes_left:
            return False
        if lot is None:
            lot = self._lots[source] = _Lot(source)
            self._turns.append(lot)
        lot.frames.append(frame)
        lot.size += len(frame)
        self._frames_left -= 1
        self._bytes_left -= len(frame)
        self.count += 1
        return True

    def take(self) -> bytes:
        """Return the next frame; IndexError if none waits."""
        turns = self._turns
        while True:
            lot = turns[0]
            if lot.credit <= 0:  # its turn is over; the next one has this much more
                lot.credit += QUANTUM
                turns.rotate(-1)
                continue
            frame = lot.frames.popleft()
            size = len(frame)
            lot.credit -= size
            lot.size -= size
            self._frames_left += 1
            self._bytes_left += size
            self.count -= 1
            if not lot.frames:
                turns.popleft()
                del self._lots[lot.source]
            return frame

    def take_all(self) -> list[bytes]:
        """Return everything that waits, and forget it."""
        return [self.take() for _ in range(self.count)]
