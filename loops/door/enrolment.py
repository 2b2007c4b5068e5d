"""Enrolment at the door: clients without a certificate, of which each may ask for one once. `tlsrt-enrol/1`.

Nothing is decided here: id, signing request and MAC go to the authority, and its answer or one word comes back. Such a
connection counts as unauthenticated to its end, which comes soon in any case, and takes no place of any other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Protocol

from tlsrt.channels.session.enrolment import (
    ASKING_MAX,
    AUTHORITIES_MAX,
    CERTIFICATE_MAX,
    PROTOCOL,
    REFUSED,
    encode_message,
    parse_asking_untrusted,
)
from tlsrt.channels.tls.connection import TlsConnection
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import Framing
from tlsrt.errors import PeerError
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.backend import DoorBackend
from tlsrt.loops.door.service import UnauthenticatedHandlers
from tlsrt.rate_limit import Buckets

TIMEOUT_S = 10.0  # from the handshake to the answer: a client has its request ready
RATE_S, BURST = 1.0, 20.0  # of one address


class EnrolmentOwner(Protocol):
    """Who knows the connection of an enrolment by a number."""

    def ask(self, number: int, code_id: bytes, request: bytes, mac: bytes) -> None:
        """Pass the request on; PeerError ends the connection."""

    def on_closed(self, number: int) -> None:
        """The connection has ended."""


class EnrolmentConnection(MessageLink):
    """One such client: it may ask once, and gets one answer."""

    def __init__(
        self, connection: TlsConnection, number: int, authorities: Sequence[bytes], owner: EnrolmentOwner,
        framing: Framing | None = None,
    ) -> None:  # fmt: skip
        super().__init__(connection, ASKING_MAX, framing=framing)
        self._number = number
        self._owner = owner
        self._has_asked = False
        self._timer = self._loop.call_later(TIMEOUT_S, self.refuse, "enrol_timeout")
        listed = [each for each in authorities if len(each) <= CERTIFICATE_MAX][:AUTHORITIES_MAX]
        self.send(encode_message("authorities", listed))

    def received_untrusted(self, data: bytes) -> None:
        try:
            super().received_untrusted(data)
        except PeerError as error:
            self.refuse(error.reason)

    def payload_untrusted(self, payload: bytes) -> None:
        if self._has_asked:
            raise PeerError("enrol_twice")
        self._has_asked = True
        self._owner.ask(self._number, *parse_asking_untrusted(payload))

    def answer(self, answer: bytes, mac: bytes) -> None:
        """Pass the authority's answer on, and end."""
        if self._has_asked and not self.connection.ended:
            self.send(encode_message("enrolled", answer, mac))
            self.finish()
            self.connection.close("enrolled")

    def refuse(self, reason: str) -> None:
        """Say the one word, whatever the reason, and end."""
        if not self.connection.ended:
            self.send(encode_message("refused", REFUSED))
            self.finish()
            self.connection.fail(reason)

    def lost(self, reason: str) -> None:
        self._timer.cancel()
        self._owner.on_closed(self._number)


class EnrolmentConnections:
    """The connections of clients without a certificate. They have places of their own at the door (admission.py)."""

    def __init__(self, backend: DoorBackend) -> None:
        self._backend = backend
        self._authorities: Sequence[bytes] = ()  # the door's CAs, DER
        self._clients: dict[int, AcceptedConnection] = {}
        self._links: dict[int, EnrolmentConnection] = {}
        self._rates = Buckets(BURST, RATE_S)

    def strangers(self, context: ssl.SSLContext) -> UnauthenticatedHandlers:
        """Return how a server takes them, with this context."""
        return UnauthenticatedHandlers(PROTOCOL, context, self.welcome)

    def set_authorities(self, authorities: Sequence[bytes]) -> None:
        """Show these CAs of the door (DER) to every client from now on."""
        self._authorities = authorities

    def ask(self, number: int, code_id: bytes, request: bytes, mac: bytes) -> None:
        """Pass a request on to the authority."""
        self._clients[number].on_asked()
        self._backend.ask("enrol", number, self._clients[number].address, code_id, request, mac)

    def enrolled(self, number: int, answer: bytes, mac: bytes) -> None:
        """Pass an answer on, if its client is still connected."""
        if number in self._links:
            self._links[number].answer(answer, mac)

    def not_enrolled(self, number: int) -> None:
        """Refuse a client, with the one word there is."""
        if number in self._links:
            self._links[number].refuse("not_enrolled")

    def welcome(self, client: AcceptedConnection, word: str, framing: Framing | None = None) -> EnrolmentConnection:
        """Speak with a client, or refuse it for this reason; in this framing."""
        number = client.number
        is_in_time = self._rates.take(client.key, asyncio.get_running_loop().time())
        self._clients[number] = client
        link = self._links[number] = EnrolmentConnection(client.connection, number, self._authorities, self, framing)
        if word or not is_in_time:
            link.refuse("too_many_strangers" if word else "too_fast_stranger")
        return link

    def on_closed(self, number: int) -> None:
        """Forget a client."""
        del self._links[number]
        del self._clients[number]
