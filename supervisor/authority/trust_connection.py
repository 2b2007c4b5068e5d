"""Trust connection: one loop's channel, which never blocks, and a queue of what is unread.

A burst (a join with many components, an epoch with many clients) may exceed the socket's buffer, about 278 small
packets, while the loop is merely busy. So what does not fit waits in a bounded queue, and the peer counts as hung
when nothing moves for HUNG_MS or the queue is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.control.trust import DOOR, PRIMARY, TRUST
from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.errors import PeerError

HUNG_MS = 1_000
QUEUE_MAX = 4096  # 1024 clients and their grants, and all that a loop with hundreds of components is told


def sender_of(loop: str) -> str:
    """Return as which sender of the trust table a loop speaks."""
    return PRIMARY if loop == PRIMARY else DOOR if loop == DOOR_PROCESS else "loop"


class TrustConnection:
    """A channel with its queue. Owns the descriptor."""

    def __init__(self, loop: str, descriptor: int) -> None:
        self.loop = loop
        self._sender = sender_of(loop)
        self._channel = ControlChannel(descriptor, TRUST)
        self._queue: deque[tuple[str, tuple[object, ...], Sequence[int]]] = deque()
        self._moved = 0

    def fileno(self) -> int:
        return self._channel.fileno()

    def close(self) -> None:
        self._queue.clear()
        self._channel.close()

    @property
    def is_blocked(self) -> bool:
        """Tell whether something waits for the peer to read."""
        return bool(self._queue)

    def send(self, now: int, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send or queue one message; raise PeerError. Descriptors must stay open for as long as the line."""
        if not self._queue:
            self._moved = now
            if self._try(name, fields, descriptors):
                return
        if len(self._queue) >= QUEUE_MAX:
            raise PeerError("hung")
        self._queue.append((name, fields, descriptors))

    def flush(self, now: int) -> None:
        """Send what waits; raise PeerError when the peer has read nothing for too long."""
        while self._queue:
            if not self._try(*self._queue[0]):
                if now - self._moved >= HUNG_MS:
                    raise PeerError("hung")
                return
            self._queue.popleft()
            self._moved = now

    def receive(self, state: str) -> tuple[str, Any] | None:
        """Return one message of the loop, by name, or None; raise PeerError."""
        received = self._channel.receive(self._sender, state)
        return None if received is None else received[:2]

    def _try(self, name: str, fields: tuple[object, ...], descriptors: Sequence[int]) -> bool:
        try:
            self._channel.send(name, *fields, descriptors=descriptors)
        except PeerError as error:
            if error.reason == "hung":
                return False
            raise
        return True
