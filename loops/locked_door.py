"""The door of a locked host: it tells everybody that the host is locked, and nothing else. asyncio.

It holds the TLS certificate. Nobody is anybody here: it knows no session and no right, and why the host is locked is
not told to it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from tlsrt.channels.message_link import MessageLink
from tlsrt.channels.stream import OPENING_MAX, PROTOCOL, parse_control_untrusted
from tlsrt.channels.tls_connection import Handler, TlsConnection
from tlsrt.channels.turn import Turn
from tlsrt.errors import PeerError
from tlsrt.loops.door import HTTP, DoorLimits, ServeHttp
from tlsrt.loops.tls_server import Connected, TlsServer

LOCKED_S = 10.0  # to read that the host is locked, and to go

LockedAs = Callable[[], tuple[bytes, bytes, bytes]]  # install id, boot id, lock id


class LockedLink(MessageLink):
    """One client of a locked host."""

    def __init__(
        self, connection: TlsConnection, locked_as: LockedAs, want: Callable[[Callable[[], None]], object]
    ) -> None:
        super().__init__(connection, OPENING_MAX, want)
        self._timer = self._loop.call_later(LOCKED_S, self.refuse, "locked", "closed_locked")
        self.say("locked", *locked_as())

    def payload_untrusted(self, payload: bytes) -> None:
        try:
            parse_control_untrusted(payload, "client")
            self.refuse("locked", "closed_locked")  # it has not waited for our word
        except PeerError as error:
            self.refuse("rejected", error.reason)

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
            end = self.connection.close if word == "locked" else self.connection.fail
            end(reason)

    def lost(self, reason: str) -> None:
        self._timer.cancel()


class LockedDoor(TlsServer):
    """The server. All methods belong to the event loop's thread."""

    def __init__(
        self, context: ssl.SSLContext, locked_as: LockedAs, limits: DoorLimits, note: Callable[[str, str], None],
        turn: Turn, serve_http: ServeHttp | None,
    ) -> None:  # fmt: skip
        self._locked_as = locked_as
        self._links: dict[int, LockedLink] = {}
        handlers: dict[str, Callable[[Connected], Handler]] = {PROTOCOL: self._welcome}
        if serve_http is not None:
            handlers[HTTP] = lambda client: self._welcome_http(client, serve_http)
        super().__init__(context, handlers, limits, note, turn)

    def _welcome(self, client: Connected) -> Handler:
        link = LockedLink(client.connection, self._locked_as, self._turn.want)
        self._links[client.number] = link
        return link

    def _welcome_http(self, client: Connected, serve: ServeHttp) -> Handler:
        http = serve(client.connection, client.number, lambda word: None)
        http.refuse("locked")
        return http

    def _gone(self, number: int) -> None:
        self._links.pop(number, None)
        super()._gone(number)

    def _dismiss(self, client: Connected, word: str) -> None:
        link = self._links.get(client.number)
        if link is not None:
            link.refuse(word, word)
        else:
            super()._dismiss(client, word)
