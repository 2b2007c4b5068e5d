"""A follower on the control socket: one answer a line, for as long as both sides like.

The supervisor never waits for it. Lines are queued up to a bound and leave when the socket takes them, many at once; a
follower that is too slow reads `{"dropped": n}` where lines are missing, and one that takes nothing at all for STALL_S
while something waits is closed.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Callable

from tlsrt.supervisor.process.event_loop import READ, WRITE, EventLoop, Timer

QUEUE_BYTES = 256 * 1024
STALL_S = 30.0
_PIECE = 64 * 1024


def encode(value: object) -> bytes:
    """Return one line of JSON."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class Follower:
    """One connection after its request; `send` never blocks and never raises."""

    def __init__(self, event_loop: EventLoop, connection: socket.socket, *, limit: int = QUEUE_BYTES) -> None:
        self._event_loop = event_loop
        self._connection = connection
        self._queue = LineQueue(limit, lambda count: encode({"dropped": count}))
        self._is_ending = False
        self._waits_to_write = False
        self._progress_at = event_loop.now
        self._timer: Timer | None = None
        self._on_closed: list[Callable[[], None]] = []
        self._fill: Callable[[], None] = lambda: None
        connection.setblocking(False)
        event_loop.watch(connection.fileno(), self._ready)

    def when_closed(self, callback: Callable[[], None]) -> None:
        """Call this when the connection is closed, from whichever side."""
        self._on_closed.append(callback)

    def fill_with(self, fill: Callable[[], None]) -> None:
        """Call this now and whenever everything has left, to send more."""
        self._fill = fill
        fill()

    def send(self, line: bytes) -> None:
        """Queue one encoded line; it leaves in the next round of the event loop."""
        if self.is_closed or self._is_ending:
            return
        if not self._queue.size:
            self._progress_at = self._event_loop.now
        self._queue.push(line)
        self._write_later()

    def end(self) -> None:
        """Close the connection when everything has left."""
        self._is_ending = True
        if not self._queue.size:
            self.close()

    def close(self) -> None:
        """Close the connection at once."""
        if self.is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._event_loop.forget(self._connection.fileno())
        self._connection.close()
        for callback in self._on_closed:
            callback()

    @property
    def is_closed(self) -> bool:
        return self._connection.fileno() < 0

    @property
    def waiting(self) -> int:
        """Return how many bytes wait for the reader."""
        return self._queue.size

    def last_words(self) -> None:
        """Send what the socket takes at once, and close."""
        try:
            while self._queue.size and not self.is_closed:
                self._queue.sent(self._connection.send(self._queue.piece(_PIECE), socket.MSG_NOSIGNAL))
        except OSError:
            pass  # BlockingIOError too: there is no waiting for a reader at the end
        self.close()

    def _write_later(self) -> None:
        if not self._waits_to_write:
            self._waits_to_write = True
            self._event_loop.change(self._connection.fileno(), READ | WRITE)
        if self._timer is None:
            self._timer = self._event_loop.call_later(STALL_S, self._look)

    def _ready(self, events: int) -> None:
        try:
            if events & ~WRITE and not self._connection.recv(_PIECE):  # it has nothing to say; it can only leave
                self.close()
            elif self._waits_to_write:
                self._write()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _write(self) -> None:
        count = self._connection.send(self._queue.piece(_PIECE), socket.MSG_NOSIGNAL)
        self._progress_at = self._event_loop.now
        self._queue.sent(count)
        if not self._queue.size and not self._is_ending:
            self._fill()
        if self._queue.size or self.is_closed:
            return
        if self._is_ending:
            self.close()
            return
        self._waits_to_write = False
        self._event_loop.change(self._connection.fileno(), READ)

    def _look(self) -> None:
        """Close a follower that takes nothing. One timer: one a line would fill the heap."""
        self._timer = None
        if not self._queue.size:
            return
        left_s = self._progress_at + STALL_S - self._event_loop.now
        if left_s <= 0:
            self.close()
        else:
            self._timer = self._event_loop.call_later(left_s, self._look)


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
