"""Accepted connection: from accept to its end, as its server knows it."""

from __future__ import annotations

from typing import Protocol

from tlsrt.channels.tls.connection import Handler, TlsConnection
from tlsrt.channels.tls.epoll_transport import EpollTransport
from tlsrt.loops.door.addresses import address_key


class ConnectionServer(Protocol):
    """What a connection belongs to."""

    def new_tls(self, owner: AcceptedConnection) -> TlsConnection:
        """Return the TLS of a new connection."""

    def choose_handler(self, client: AcceptedConnection) -> Handler:
        """Return the handler of the protocol that was agreed on. PeerError ends the connection."""

    def on_handshake_bytes(self, client: AcceptedConnection, *, has_hello: bool) -> None:
        """A handshake has come so far."""

    def on_asked(self, client: AcceptedConnection) -> None:
        """A client without a certificate has said what it wants."""

    def authenticate(self, client: AcceptedConnection, subject: str) -> None:
        """A connection has proved to be this subject's. PeerError if that has no place left."""

    def on_end(self, client: AcceptedConnection, reason: str) -> None:
        """A connection is over."""

    def on_socket_closed(self, client: AcceptedConnection) -> None:
        """Its socket is closed too."""


class AcceptedConnection:
    """One of them, by its number."""

    def __init__(self, server: ConnectionServer, number: int, address: str, since: float, share: int) -> None:
        self.number = number
        self.key = address_key(address)  # what admission counts it as
        self.address = address
        self.since = since  # the loop's time
        self.share = share  # what it was counted with, of the rate of its address
        self.account = ""  # the client that its certificate names, once that was verified
        self.authenticated = False
        self.subject = ""  # who it has proved to be
        self.left = False  # it is no longer counted
        self._server = server
        self.connection = server.new_tls(self)

    @property
    def heard(self) -> float:
        """The loop's time of the last bytes."""
        return self.connection.heard

    @property
    def socket(self) -> EpollTransport | None:
        """Its socket, while that is open."""
        transport = self.connection.transport
        return transport if isinstance(transport, EpollTransport) else None

    def authenticate(self, subject: str) -> None:
        """Note that it has proved to be this subject's, and charge what it sends to that. Raises PeerError."""
        self._server.authenticate(self, subject)

    def on_asked(self) -> None:
        """A client without a certificate has said what it wants."""
        self._server.on_asked(self)

    # -- the owner of its TLS ----------------------------------------------------------------------------------

    def choose_handler(self) -> Handler:
        return self._server.choose_handler(self)

    def on_handshake_bytes(self, *, has_hello: bool) -> None:
        self._server.on_handshake_bytes(self, has_hello=has_hello)

    def on_end(self, reason: str) -> None:
        self._server.on_end(self, reason)

    def on_socket_closed(self) -> None:
        self._server.on_socket_closed(self)
