"""The door of a locked host: every client is told so, and an unlock is passed on. asyncio.

It holds the TLS certificate. It knows no session and no right, and why the host is locked is not told to it. A client
that wants to unlock the host asks for a challenge and signs it; both go through here, and the authority decides.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.tls.connection import Handler, TlsConnection
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import OPENING_MAX, PROTOCOL, Framing, parse_control_untrusted
from tlsrt.errors import PeerError
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.backend import DoorBackend
from tlsrt.loops.door.tls_contexts import HTTP

if TYPE_CHECKING:  # only a host with HTTP clients loads it
    from tlsrt.loops.http.connection import HttpServer

LOCKED_S = 10.0  # to read that the host is locked, and to leave


class LockedStage(Enum):
    """How far a client of a locked host has come."""

    TOLD = "told"  # that the host is locked
    ASKING = "asking"  # the challenge is in flight
    CHALLENGED = "challenged"  # the client's turn
    UNLOCKING = "unlocking"  # the authority's turn, and the last


STAGES: dict[tuple[LockedStage, str], LockedStage] = {
    (LockedStage.TOLD, "ask_unlock"): LockedStage.ASKING,
    (LockedStage.ASKING, "challenge"): LockedStage.CHALLENGED,
    (LockedStage.CHALLENGED, "unlock"): LockedStage.UNLOCKING,
}


LockIds = tuple[bytes, bytes, bytes]  # install id, boot id, lock id


class LockedConnection(MessageLink):
    """One client of a locked host."""

    def __init__(
        self, connection: TlsConnection, number: int, backend: DoorBackend, lock: LockIds,
        want: Callable[[Callable[[], None]], object], framing: Framing | None = None,
    ) -> None:  # fmt: skip
        super().__init__(connection, OPENING_MAX, want, framing)
        self._number = number
        self._backend = backend
        self._stage = LockedStage.TOLD
        self._timer = self._loop.call_later(LOCKED_S, self.refuse, "locked", "closed_locked")
        self.say("locked", *lock)

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
            self._backend.ask("challenge", self._number)
        else:
            self._backend.ask("unlock", self._number, *fields)

    def received_untrusted(self, data: bytes) -> None:
        try:
            super().received_untrusted(data)
        except PeerError as error:
            self.refuse("busy" if error.reason == "busy" else "rejected", error.reason)

    def refuse(self, word: str, reason: str) -> None:
        """Tell the client one word, and end."""
        if not self.connection.ended:
            self.say("refused", word)
            self.finish()
            end = self.connection.close if reason.startswith("closed_") else self.connection.fail
            end(reason)

    def dismiss(self, word: str) -> None:
        """Tell the client one word that is no refusal, and end."""
        if not self.connection.ended:
            self.say("goodbye", word)
            self.finish()
            self.connection.close("closed_" + word)

    def lost(self, reason: str) -> None:
        self._timer.cancel()


class LockedDoor:
    """The door. All methods belong to the event loop's thread; the number of a closed connection is ignored."""

    def __init__(
        self, backend: DoorBackend, lock: LockIds, batch: WriteBatch, http: HttpServer | None, *, has_web: bool = False
    ) -> None:
        self._backend = backend
        self._lock = lock
        self._batch = batch
        self._http = http
        self._has_web = has_web
        self._links: dict[int, LockedConnection] = {}

    # -- the service of a TLS server ---------------------------------------------------------------------------

    @property
    def protocols(self) -> tuple[str, ...]:
        """The ALPN names of its protocols."""
        return (PROTOCOL, HTTP) if self._http is not None or self._has_web else (PROTOCOL,)

    def on_connected(self, client: AcceptedConnection, protocol: str) -> Handler:
        """Tell a client that the host is locked."""
        if protocol == HTTP and self._http is None:  # a browser is a stranger, and comes by `speak`
            raise PeerError("no_protocol")
        if protocol == HTTP and self._http is not None:
            http = self._http.serve(client)
            http.refuse("locked")
            return http
        return self.speak(client)

    def speak(self, client: AcceptedConnection, framing: Framing | None = None) -> LockedConnection:
        """Tell a client that the host is locked, in this framing."""
        link = self._links[client.number] = LockedConnection(
            client.connection, client.number, self._backend, self._lock, self._batch.want, framing
        )
        return link

    def on_lost(self, client: AcceptedConnection) -> None:
        """Forget a client."""
        self._links.pop(client.number, None)

    def may_be_silent(self, client: AcceptedConnection) -> bool:
        """Let no client be silent for ever."""
        return False

    def dismiss(self, client: AcceptedConnection, word: str) -> None:
        """Tell a client one word if its protocol has it, and end."""
        link = self._links.get(client.number)
        if link is not None:
            link.dismiss(word)
        else:
            client.connection.close(word)

    # -- what the backend does ---------------------------------------------------------------------------------

    def challenged(self, connection: int, challenge: bytes, now: int) -> None:
        """Pass the authority's challenge on; `now` is the host's BOOTTIME in ms."""
        link = self._links.get(connection)
        if link is not None and link.step("challenge"):
            install, boot, _ = self._lock
            link.say("challenge", install, boot, challenge, now)

    def answered(self, connection: int, word: str) -> None:
        """Pass on what became of an unlock."""
        link = self._links.get(connection)
        if link is None:
            return
        if word == "unlocked":
            link.dismiss(word)
        else:
            link.refuse(word, "unlock_" + word)
