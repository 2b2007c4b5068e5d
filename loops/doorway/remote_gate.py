"""Gate and authority, as a door with a process of its own reaches them: the backend at its end. asyncio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tlsrt.errors import Busy, PeerError, Unavailable
from tlsrt.loops.doorway.door_messages import pack

TEXT_MAX = 256  # of what a stranger wrote, in a report
TARGET_MAX = 8 * 1024


class DoorChannel(Protocol):
    """The link to Primary."""

    @property
    def depth(self) -> int: ...
    def send(self, frame: bytes) -> None: ...


class RemoteGate:
    """Says what the door has to say. What comes of a connection of an earlier Primary is said to no later one.

    `rest` has a connection rest while the link is slow, `lose` drops the link: what must not be lost could not be said.
    """

    def __init__(
        self, channel: DoorChannel, slow_at: int, rest: Callable[[int, float], None], lose: Callable[[], None]
    ) -> None:
        self._channel = channel
        self._slow_at = slow_at
        self._rest = rest
        self._lose = lose
        self.first = 0  # the first number of a connection of this Primary

    def say(self, name: str, *fields: object) -> None:
        """Say what must not be lost."""
        try:
            self._channel.send(pack(name, *fields))
        except Busy:
            self._lose()
        except Unavailable:
            return  # there is no Primary: its connections end

    def _report(self, name: str, *fields: object) -> None:
        """Say what may be lost."""
        try:
            self._channel.send(pack(name, *fields))
        except (Busy, Unavailable):
            return

    def on_client(self, connection: int, address: str, certificate: bytes) -> None:
        if connection >= self.first:
            self.say("connected", connection, address, certificate)

    def ask(self, name: str, connection: int, *fields: Any) -> None:
        if connection < self.first:
            return
        try:
            self._channel.send(pack(name, connection, *fields))
        except (Busy, Unavailable):
            raise PeerError("busy") from None

    def frame(self, connection: int, frame: bytes) -> str:
        """Pass a frame on; what the gate refuses is told later, and its word with it."""
        if connection < self.first:
            return ""
        try:
            self._channel.send(pack("frame", connection, frame))
        except (Busy, Unavailable):
            raise PeerError("busy") from None
        if self._channel.depth > self._slow_at:
            self._rest(connection, 0.02)
        return ""

    def on_http_request(self, connection: int, target: str, authorization: str, *, is_foreign: bool) -> None:
        if connection >= self.first:
            self._report("http_request", connection, target[:TARGET_MAX], authorization[:TARGET_MAX], int(is_foreign))

    def on_web_request(self, address: str, path: str, authorization: str, *, is_foreign: bool) -> None:
        self._report("web_request", address, path[:TARGET_MAX], authorization[:TARGET_MAX], int(is_foreign))

    def on_closed(self, connection: int) -> None:
        if connection >= self.first:
            self.say("closed", connection)

    def on_refused(self, address: str, word: str) -> None:
        self._report("refused_connection", address[:TEXT_MAX], word[:TEXT_MAX])

    def on_over_places(self, client: str) -> None:
        self._report("over_places", client[:TEXT_MAX])

    def on_offence(self, key: str, connection: int, word: str) -> None:
        if not 0 < connection < self.first:
            self._report("offence", key[:TEXT_MAX], connection, word[:TEXT_MAX])

    def on_stranger(self, address: str) -> None:
        """A client at this address has sent something to the decoy endpoint."""
        self._report("stranger", address)
