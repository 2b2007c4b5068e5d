"""What waits for one reader of a stream: whole lines, bounded by bytes, with every gap said where it is. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class LineQueue:
    """Lines in, pieces for a socket out.

    A line that does not fit is dropped, and so are those after it until half of the bound is free again; then one line
    of `gap(count)` stands in their place. So a reader that is too slow loses whole stretches and is told how much, and
    what waits for it is never more than `limit` bytes and that one line.
    """

    def __init__(self, limit: int, gap: Callable[[int], bytes]) -> None:
        self._limit = limit
        self._gap = gap
        self._lines: deque[bytes] = deque()
        self._offset = 0  # how much of the first line has left
        self.size = 0  # bytes that wait
        self.dropped = 0  # lines since the last one that was taken

    def push(self, line: bytes) -> None:
        """Take one line, with its newline, or count it as dropped."""
        if self.dropped or self.size + len(line) > self._limit:
            self.dropped += 1
            self._say_gap()
            return
        self._append(line)

    def piece(self, limit: int) -> bytes:
        """Return the bytes to send next, about `limit` of them; nothing has left until `sent` says so."""
        taken = bytearray()
        for line in self._lines:
            taken += line
            if len(taken) - self._offset >= limit:
                break
        return bytes(taken[self._offset : self._offset + limit])

    def sent(self, count: int) -> None:
        """Forget the first `count` bytes: they have left."""
        self.size -= count
        count += self._offset
        while self._lines and count >= len(self._lines[0]):
            count -= len(self._lines.popleft())
        self._offset = count
        self._say_gap()

    def _say_gap(self) -> None:
        if self.dropped and self.size <= self._limit // 2:
            count, self.dropped = self.dropped, 0
            self._append(self._gap(count))

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self.size += len(line)
