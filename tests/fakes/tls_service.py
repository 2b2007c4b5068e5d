"""A TLS service of plain handlers by ALPN name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlsrt.channels.tls.connection import Handler
from tlsrt.loops.door.accepted_connection import AcceptedConnection


class PlainService:
    """Makes a handler for each connection; with the one name "" it serves any client."""

    def __init__(self, handlers: Mapping[str, Callable[[AcceptedConnection], Handler]]) -> None:
        self.protocols = tuple(name for name in handlers if name)
        self._handlers = handlers

    def on_connected(self, client: AcceptedConnection, protocol: str) -> Handler:
        return self._handlers[protocol](client)

    def on_lost(self, client: AcceptedConnection) -> None:
        pass

    def may_be_silent(self, client: AcceptedConnection) -> bool:
        return False

    def dismiss(self, client: AcceptedConnection, word: str) -> None:
        client.connection.close(word)
