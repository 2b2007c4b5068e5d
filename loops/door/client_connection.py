"""Client connection at the door: challenge, open, granted, frames. The server's end of `tlsrt/1`.

What may come when is one table. The door decides nothing about sessions: it carries the bytes of `open` and of grants
between the client and the authority, and frames between the client and the gate, through its backend.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from tlsrt.channels.tls.connection import TlsConnection
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import OPENING_MAX, PAYLOAD_MAX, Framing, is_frame, parse_control_untrusted
from tlsrt.errors import PeerError
from tlsrt.loops.door.backend import DoorBackend

REFUSED_MAX = 256  # frames of one read that are refused, for whatever reason; so many genuine ones do not fit a read


class OffenceCounter(Protocol):
    """Who counts the offences of a client, over all of its connections."""

    def is_offence_too_many(self, connection: int) -> bool:
        """Count one more."""


class ConnectionStage(Enum):
    """How far a client has come."""

    ARRIVED = "arrived"  # the challenge is in flight
    CHALLENGED = "challenged"  # the client's turn
    OPENING = "opening"  # the authority's turn
    LOCKING = "locking"  # the authority's turn, and the last
    GRANTED = "granted"


STAGES: dict[tuple[ConnectionStage, str], ConnectionStage] = {
    (ConnectionStage.ARRIVED, "challenged"): ConnectionStage.CHALLENGED,
    (ConnectionStage.CHALLENGED, "open"): ConnectionStage.OPENING,
    (ConnectionStage.CHALLENGED, "lock"): ConnectionStage.LOCKING,
    (ConnectionStage.OPENING, "granted"): ConnectionStage.GRANTED,
    (ConnectionStage.GRANTED, "granted"): ConnectionStage.GRANTED,  # a push: renewal, epoch, respawned recipient
    (ConnectionStage.GRANTED, "frame"): ConnectionStage.GRANTED,
    (ConnectionStage.GRANTED, "renew"): ConnectionStage.GRANTED,
}


class ClientConnection(MessageLink):
    """The client's state, and its messages."""

    def __init__(
        self, connection: TlsConnection, number: int, backend: DoorBackend, offences: OffenceCounter, opening_s: float,
        want: Callable[[Callable[[], None]], object] | None = None, framing: Framing | None = None,
    ) -> None:  # fmt: skip
        super().__init__(connection, OPENING_MAX, want, framing)
        self.stage = ConnectionStage.ARRIVED
        self._number = number
        self._backend = backend
        self._offences = offences
        self._refused = 0  # in this read
        self._has_renewed = False
        self._timer = self._loop.call_later(opening_s, self.refuse, "timeout", "opening_timeout")

    def step(self, event: str) -> None:
        """Take one step of the table; raise PeerError for one that it does not list."""
        following = STAGES.get((self.stage, event))
        if following is None:
            raise PeerError(f"{event}_while_{self.stage.value}")
        self.stage = following
        if following is ConnectionStage.GRANTED:
            self._timer.cancel()
            self.reader.cap = PAYLOAD_MAX

    def payload_untrusted(self, payload: bytes) -> None:
        try:
            if is_frame(payload):
                if (
                    self.stage is not ConnectionStage.GRANTED
                ):  # where a frame is one more; the table is for everything else
                    self.step("frame")
                word = self._backend.frame(self._number, payload)
                if word:
                    self._refused += 1
                    if self._refused > REFUSED_MAX or (
                        word == "rejected" and self._offences.is_offence_too_many(self._number)
                    ):
                        raise PeerError("too_many_refused")
            else:
                message = parse_control_untrusted(payload, "client")
                self.step(message.name)
                if message.name == "renew":
                    self._renew(*message.fields)
                else:
                    self._backend.ask(message.name, self._number, *message.fields)
        except PeerError as error:
            self.dismiss("busy" if error.reason == "busy" else "rejected", error.reason)

    def _renew(self, request: bytes, signature: bytes) -> None:
        if self._has_renewed:
            raise PeerError("renew_twice")
        self._has_renewed = True
        self._backend.ask("renew", self._number, request, signature)

    def received_untrusted(self, data: bytes) -> None:
        self._refused = 0
        try:
            super().received_untrusted(data)
        except PeerError as error:
            self.dismiss("busy" if error.reason == "busy" else "rejected", error.reason)

    def refuse(self, word: str, reason: str) -> None:
        """Tell the client that it gets no session, and end."""
        if not self.connection.ended:
            self.say("refused", word)
            self.finish()
            self.connection.fail(reason)

    def dismiss(self, word: str, reason: str) -> None:
        """Tell the client one word, and end."""
        if not self.connection.ended:
            self.say("goodbye", word)
            self.finish()
            self.connection.fail(reason)

    def lost(self, reason: str) -> None:
        self._timer.cancel()
        self._backend.on_closed(self._number)
