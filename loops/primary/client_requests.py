"""What clients ask of the authority, and what must reach it, in order on the trust channel. asyncio.

The channel takes about 278 small packets unread. More than that come at once when Primary was replaced and all clients
come again: what has no room waits here, as it is no client's fault. What waits is sent in small parts, so that half of
the channel is free for what Primary itself has to say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, Protocol

from tlsrt.errors import PeerError

WAITING_MAX: Final = 4096  # questions: 1024 connections, each of which asks for a challenge and for a session
PART: Final = 64  # messages sent when the channel is writable: a UNIX socket is with a quarter of its room used


class TrustChannel(Protocol):
    """The end of the channel to the authority. `send` raises PeerError("hung") where the other end does not read."""

    def fileno(self) -> int: ...

    def send(self, name: str, *fields: Any) -> None: ...


class ClientRequests:
    """The queue before the channel."""

    def __init__(self, trust: TrustChannel) -> None:
        self._trust = trust
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque()

    def ask(self, name: str, connection: int, *fields: Any) -> None:
        """Pass a question of a client on, now or later. Raises PeerError("busy") if too many wait."""
        if len(self._waiting) >= WAITING_MAX or not self._send(name, connection, *fields):
            raise PeerError("busy")

    def tell(self, name: str, *fields: Any) -> None:
        """Say what must not be lost, now or later, however much waits: of a session, or an answer to the authority."""
        self._send(name, *fields)

    def _send(self, name: str, *fields: Any) -> bool:
        """Send or queue one message; False if there is no authority, which is found out where its messages are read."""
        if self._waiting:
            self._waiting.append((name, fields))
            return True
        try:
            self._trust.send(name, *fields)
        except PeerError as error:
            if error.reason != "hung":
                return False
            self._waiting.append((name, fields))
            asyncio.get_running_loop().add_writer(self._trust.fileno(), self._flush)
        return True

    def _flush(self) -> None:
        try:
            for _ in range(min(len(self._waiting), PART)):
                name, fields = self._waiting[0]
                self._trust.send(name, *fields)
                self._waiting.popleft()
        except PeerError as error:
            if error.reason == "hung":
                return
            self._waiting.clear()
        if not self._waiting:
            asyncio.get_running_loop().remove_writer(self._trust.fileno())
