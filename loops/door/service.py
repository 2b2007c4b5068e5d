"""What a TLS server serves, and who is told what it refuses. Protocols."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tlsrt.channels.tls.connection import Handler
from tlsrt.loops.door.accepted_connection import AcceptedConnection


class TlsService(Protocol):
    """What is served on the connections of a server: the door of a host, or of a locked one."""

    @property
    def protocols(self) -> tuple[str, ...]:
        """The ALPN names that it speaks; none if any client is to be served, whatever that offers."""

    def on_connected(self, client: AcceptedConnection, protocol: str) -> Handler:
        """A handshake is over: return what takes the plaintext. `protocol` is "" if there are no names."""

    def on_lost(self, client: AcceptedConnection) -> None:
        """A socket is closed; comes once for each connection, also for one that was never connected."""

    def may_be_silent(self, client: AcceptedConnection) -> bool:
        """Whether a client may be silent for ever; then its protocol has a timeout of its own."""

    def dismiss(self, client: AcceptedConnection, word: str) -> None:
        """End a connection in good order, in whatever stage it is; a protocol may have a word for it."""


class ServerObserver(Protocol):
    """Who is told what a server refuses."""

    def on_refused(self, address: str, word: str) -> None:
        """A connection was refused, or ended in disorder."""

    def on_offence(self, key: str, connection: int, word: str) -> None:
        """The same as an offence: of this address, or of this connection if it has proved who it is (else 0)."""

    def on_over_places(self, client: str) -> None:
        """A client has used up its share of the connections, and lost one."""


@dataclass(frozen=True, slots=True)
class UnauthenticatedHandlers:
    """Protocol, context and handler of clients without a certificate.

    Without a context they are served with that of all others who speak this protocol, which may ask for a certificate
    and does not insist on one: they are guests, with places of their own.
    """

    protocol: str
    context: ssl.SSLContext | None
    handler: Callable[[AcceptedConnection, str], Handler]  # with the word why there is no room, or ""
