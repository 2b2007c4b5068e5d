"""The door of a locked host: it tells everybody that the host is locked, and carries what may unlock it. asyncio.

It holds the TLS certificate. Nobody is anybody here: it knows no session and no right, and why the host is locked is
not told to it. A client that wants to unlock the host asks for a challenge and signs it; both go through here, and what
becomes of them is the authority's word.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.tls.connection import Handler, TlsConnection
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import OPENING_MAX, PROTOCOL, parse_control_untrusted
from tlsrt.errors import PeerError
from tlsrt.loops.door.door import HTTP, DoorLimits, ServeHttp
from tlsrt.loops.door.tls_server import Connected, TlsServer

LOCKED_S = 10.0  # to read that the host is locked, and to go


class LockedStage(Enum):
    """How far a client has come."""

    TOLD = "told"  # that the host is locked
    ASKING = "asking"  # the challenge is under way
    CHALLENGED = "challenged"  # the client's turn
    UNLOCKING = "unlocking"  # the authority's turn, and the last


STAGES: dict[tuple[LockedStage, str], LockedStage] = {
    (LockedStage.TOLD, "ask_unlock"): LockedStage.ASKING,
    (LockedStage.ASKING, "challenge"): LockedStage.CHALLENGED,
    (LockedStage.CHALLENGED, "unlock"): LockedStage.UNLOCKING,
}


class LockedBackend(Protocol):
    """What stands behind the door of a locked host; connections are known to it by number."""

    def challenge(self, connection: int) -> None:
        """A client wants to unlock the host: answer with `LockedDoor.challenged`."""

    def unlock(self, connection: int, certificate: bytes, signature: bytes) -> None:
        """It has signed: answer with `LockedDoor.answered`. The bytes are unchecked."""


LockedAs = Callable[[], tuple[bytes, bytes, bytes]]  # install id, boot id, lock id


class LockedConnection(MessageLink):
    """One client of a locked host."""

    def __init__(
        self, connection: TlsConnection, number: int, hub: LockedBackend, locked_as: LockedAs,
        want: Callable[[Callable[[], None]], object],
    ) -> None:  # fmt: skip
        super().__init__(connection, OPENING_MAX, want)
        self._number = number
        self._hub = hub
        self._stage = LockedStage.TOLD
        self._timer = self._loop.call_later(LOCKED_S, self.refuse, "locked", "closed_locked")
        self.say("locked", *locked_as())

    def step(self, event: str) -> bool:
        """Take one step of the table; False, and nothing has changed, for one that it does not list."""
        following = STAGES.get((self._stage, event))
        self._stage = following or self._stage
        return following is not None

    def payload_untrusted(self, payload: bytes) -> None:
        try:
            name, fields = parse_control_untrusted(payload, "client")
        except PeerError as error:
            self.refuse("rejected", error.reason)
            return
        if not self.step(name):
            self.refuse("locked", "closed_locked")  # such as an open: it has not waited for our word
        elif name == "ask_unlock":
            self._hub.challenge(self._number)
        else:
            self._hub.unlock(self._number, *fields)

    def received_untrusted(self, data: bytes) -> None:
        try:
            super().received_untrusted(data)
        except PeerError as error:
            self.refuse("rejected", error.reason)

    def refuse(self, word: str, reason: str) -> None:
        """Tell the client one word, and end."""
        if not self.connection.ended:
            self.say("refused", word)
            self.flush()
            end = self.connection.close if reason.startswith("closed_") else self.connection.fail
            end(reason)

    def bid_farewell(self, word: str) -> None:
        """Tell the client one word that is no refusal, and end."""
        if not self.connection.ended:
            self.say("goodbye", word)
            self.flush()
            self.connection.close("closed_" + word)

    def lost(self, reason: str) -> None:
        self._timer.cancel()


class LockedDoor(TlsServer):
    """The server. All methods belong to the event loop's thread."""

    def __init__(
        self, hub: LockedBackend, context: ssl.SSLContext, locked_as: LockedAs, limits: DoorLimits,
        note: Callable[[str, str], None], turn: WriteBatch, serve_http: ServeHttp | None,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._locked_as = locked_as
        self._links: dict[int, LockedConnection] = {}
        handlers: dict[str, Callable[[Connected], Handler]] = {PROTOCOL: self._welcome}
        if serve_http is not None:
            handlers[HTTP] = lambda client: self._welcome_http(client, serve_http)
        super().__init__(context, handlers, limits, note, turn)

    def _welcome(self, client: Connected) -> Handler:
        link = LockedConnection(client.connection, client.number, self._hub, self._locked_as, self._turn.want)
        self._links[client.number] = link
        return link

    def _welcome_http(self, client: Connected, serve: ServeHttp) -> Handler:
        http = serve(client.connection, client.number, lambda word: None)
        http.refuse("locked")
        return http

    def challenged(self, connection: int, challenge: bytes, now: int) -> None:
        """Pass the authority's challenge on; `now` is the host's BOOTTIME in ms."""
        link = self._links.get(connection)
        if link is not None and link.step("challenge"):
            install, boot, _ = self._locked_as()
            link.say("challenge", install, boot, challenge, now)

    def answered(self, connection: int, word: str) -> None:
        """Pass on what became of an unlock."""
        link = self._links.get(connection)
        if link is None:
            return
        if word == "unlocked":
            link.bid_farewell(word)
        else:
            link.refuse(word, "unlock_" + word)

    def _gone(self, number: int) -> None:
        self._links.pop(number, None)
        super()._gone(number)

    def _dismiss(self, client: Connected, word: str) -> None:
        link = self._links.get(client.number)
        if link is not None:
            link.bid_farewell(word)
        else:
            super()._dismiss(client, word)
