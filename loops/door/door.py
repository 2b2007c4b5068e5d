"""The door: what a host serves to its clients on a TLS server (service.py), each client by a number. asyncio.

It decides nothing about sessions: what a client asks for goes to the backend behind it, whose answers come back. A
client that is refused gets an alert, a close_notify or one generic word.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.grant import GrantContent, parse_open_untrusted
from tlsrt.channels.tls.client_hello import GROUPS, X25519MLKEM768
from tlsrt.channels.tls.connection import ConnectionLimits, Handler, TlsConnection
from tlsrt.channels.tls.message_stream import PROTOCOL, Framing
from tlsrt.config.door import DoorConfig
from tlsrt.errors import PeerError
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.addresses import plain_address
from tlsrt.loops.door.admission import AdmissionLimits
from tlsrt.loops.door.backend import DoorBackend
from tlsrt.loops.door.client_connection import REFUSED_MAX, ClientConnection, ConnectionStage
from tlsrt.loops.door.tls_contexts import HTTP
from tlsrt.loops.door.tls_server import ServerLimits
from tlsrt.rate_limit import Buckets

if TYPE_CHECKING:  # only a host with HTTP clients loads it
    from tlsrt.loops.http.connection import HttpConnection, HttpServer

OFFENCES_MAX = 64.0  # at once
OFFENCES_PER_S = 4.0


@dataclass(frozen=True, slots=True)
class DoorLimits(ServerLimits):
    """All bounds of the door. `opening_s` is the time from the handshake to the grant; a challenge lives 10 s."""

    opening_s: float = 10.0
    waiting_total: int = 128 * 1024 * 1024  # bytes waiting for clients, all together


def offence_buckets() -> Buckets:
    """Return how many frames that break rules a client may send, with all of its connections. An honest one has none.

    What comes beyond that is owed for too: a flood is refused until it has been over for some time.
    """
    return Buckets(OFFENCES_MAX, OFFENCES_PER_S, debt=OFFENCES_MAX)


def door_limits(config: DoorConfig) -> DoorLimits:
    """Return the limits that a configuration asks for."""
    return DoorLimits(
        AdmissionLimits(
            config.max_connections,
            config.max_unauthenticated,
            config.max_unauthenticated_per_address,
            config.connections_per_address_s,
            10 * config.connections_per_address_s,
            config.max_connections_per_client,
            config.handshake_timeout_s / 2,
        ),
        ConnectionLimits(config.handshake_timeout_s, config.first_flight_timeout_s),
        groups=(X25519MLKEM768,) if config.require_post_quantum else GROUPS,
        proxies=frozenset(plain_address(address) for address in config.proxies),
    )


@dataclass(slots=True)
class DoorClient:
    """A connection and what speaks on it: one of the two."""

    accepted: AcceptedConnection
    link: ClientConnection | None = None
    http: HttpConnection | None = None
    opened_with: bytes = b""  # the certificate in its open, DER, where its TLS has shown none

    @property
    def connection(self) -> TlsConnection:
        """Its TLS."""
        return self.accepted.connection

    @property
    def certificate(self) -> bytes:
        """The certificate that it has shown, DER, if any."""
        return self.connection.engine.certificate or self.opened_with


class Door:
    """The door. All methods belong to the event loop's thread; the number of a closed connection is ignored."""

    def __init__(
        self, backend: DoorBackend, limits: DoorLimits, batch: WriteBatch, *, http: HttpServer | None = None,
        succession: bytes = b"", has_web: bool = False,
    ) -> None:  # fmt: skip
        self._backend = backend
        self._limits = limits
        self._batch = batch
        self._http = http
        self._has_web = has_web
        self._succession = succession  # which issuer keys follow which, for clients that have missed it
        self._offences = offence_buckets()
        self._clients: dict[int, DoorClient] = {}  # whose handshake is over
        self._loop = asyncio.get_running_loop()

    # -- the service of a TLS server ---------------------------------------------------------------------------

    @property
    def protocols(self) -> tuple[str, ...]:
        """The ALPN names of its protocols."""
        return (PROTOCOL, HTTP) if self._http is not None or self._has_web else (PROTOCOL,)

    def on_connected(self, accepted: AcceptedConnection, protocol: str) -> Handler:
        """Give a client its number, and return what speaks with it."""
        if protocol == HTTP and self._http is None:  # a browser is a stranger, and comes by `on_upgraded`
            raise PeerError("no_protocol")
        client = self._new_client(accepted)
        if protocol == HTTP and self._http is not None:
            client.http = self._http.serve(accepted)
            return client.http
        return self._speak(client)

    def on_upgraded(self, accepted: AcceptedConnection, framing: Framing) -> ClientConnection:
        """Speak with a client that has shown no certificate, in this framing. It shows one in its open."""
        client = self._new_client(accepted)
        return self._speak(client, framing)

    def _new_client(self, accepted: AcceptedConnection) -> DoorClient:
        client = self._clients[accepted.number] = DoorClient(accepted)
        self._backend.on_client(accepted.number, accepted.address, client.certificate)
        return client

    def _speak(self, client: DoorClient, framing: Framing | None = None) -> ClientConnection:
        number = client.accepted.number
        link = client.link = ClientConnection(
            client.connection, number, self._backend, self, self._limits.opening_s, self._batch.want, framing
        )
        self._backend.ask("challenge", number)
        return link

    def on_lost(self, accepted: AcceptedConnection) -> None:
        """Forget a client."""
        self._clients.pop(accepted.number, None)

    def may_be_silent(self, accepted: AcceptedConnection) -> bool:
        """Let HTTP clients be silent: their protocol has a timeout of its own."""
        client = self._clients.get(accepted.number)
        return client is not None and client.http is not None

    def dismiss(self, accepted: AcceptedConnection, word: str) -> None:
        """Tell a client one word if its protocol has it, and end."""
        client = self._clients.get(accepted.number)
        if client is not None and client.link is not None:
            client.link.dismiss(word, word)
        else:
            accepted.connection.close(word)

    # -- connections -------------------------------------------------------------------------------------------

    def is_offence_too_many(self, connection: int) -> bool:
        """Count an offence of a client, over all of its connections."""
        client = self._clients[connection]
        return self._offences.owe(client.accepted.subject or client.accepted.key, self._loop.time()) > 0

    def _link(self, number: int) -> ClientConnection | None:
        client = self._clients.get(number)
        return None if client is None or client.connection.ended else client.link

    @property
    def sessions(self) -> int:
        """How many connections carry a session."""
        return sum(client.accepted.authenticated for client in self._clients.values())

    # -- what the backend does ---------------------------------------------------------------------------------

    def certificate_hash(self, connection: int) -> bytes:
        """Return SHA-256 of the client's certificate, to compare with a token's confirmation. Empty if it is closed."""
        certificate = self.certificate(connection)
        return hashlib.sha256(certificate).digest() if certificate else b""

    def certificate(self, connection: int) -> bytes:
        """Return the client's certificate, DER; empty if it is closed, or has shown none yet."""
        client = self._clients.get(connection)
        return client.certificate if client else b""

    def note_open_untrusted(self, connection: int, data: bytes) -> bool:
        """Take the certificate in an open for that of a client whose TLS has shown none; False if it has shown one.

        It has proved nothing by that: the authority verifies the open and its certificate before it grants anything.
        Raises PeerError if this is no open.
        """
        client = self._clients.get(connection)
        if client is None or client.connection.engine.certificate:
            return False
        client.opened_with = parse_open_untrusted(data).certificate
        return True

    def address(self, connection: int) -> str:
        """Return the address that a connection came from; empty if it is closed."""
        client = self._clients.get(connection)
        return client.accepted.address if client else ""

    def bytes_moved(self, connection: int) -> tuple[int, int] | None:
        """Return how many bytes came from a client and went to it, as its kernel counts them; None if it does not."""
        client = self._clients.get(connection)
        socket = None if client is None else client.accepted.socket
        return None if socket is None else socket.bytes_moved()

    def challenged(self, connection: int, challenge: bytes, install: bytes, boot: bytes, now: int) -> None:
        """Pass the authority's challenge on; `now` is the host's BOOTTIME in ms."""
        link = self._link(connection)
        if link is not None and link.stage is ConnectionStage.ARRIVED:
            link.step("challenged")
            link.say("challenge", install, boot, challenge, now)
            if self._succession:
                link.say("succession", self._succession)

    def announce_succession(self, chain: bytes) -> None:
        """Tell every client, and those to come, which issuer keys follow which."""
        self._succession = chain
        for number in list(self._clients):
            link = self._link(number)
            if link is not None and link.stage is not ConnectionStage.ARRIVED:
                link.say("succession", chain)

    def granted(
        self, connection: int, number: int, ciphertext: bytes, signature: bytes, session: bytes = b"", subject: str = ""
    ) -> None:
        """Pass a grant on: the first one opens the way for frames, later ones are pushes."""
        client, link = self._clients.get(connection), self._link(connection)
        if client is None or link is None or link.stage not in (ConnectionStage.OPENING, ConnectionStage.GRANTED):
            return
        link.step("granted")
        try:
            client.accepted.authenticate(subject)
        except PeerError as error:  # a browser's, which takes a place of its client only now
            link.dismiss("busy", error.reason)
            return
        link.say("granted", number, ciphertext, signature)

    def refused(self, connection: int, word: str) -> None:
        """Tell a client one generic word why it gets no session, and end its connection."""
        client = self._clients.get(connection)
        if client is not None and client.http is not None:
            client.http.refuse(word)
            return
        link = self._link(connection)
        if link is not None:
            link.refuse(word, "refused_" + word.partition(" ")[0])

    def renewed(self, connection: int, certificate: bytes, signature: bytes) -> None:
        """Pass another certificate on, or one word if there is none."""
        link = self._link(connection)
        if link is not None and link.stage is ConnectionStage.GRANTED:
            link.say("renewed", certificate, signature) if certificate else link.say("not_renewed", "rejected")

    def delegated(self, connection: int, content: GrantContent) -> None:
        """Give an HTTP client's connection its session, or a new grant of it."""
        client = self._clients.get(connection)
        if client is None or client.http is None:
            return
        client.accepted.authenticate(content.subject)
        client.http.session.delegate(content)

    def send_frame(self, connection: int, frame: bytes) -> None:
        """Send a frame; all frames of one turn leave in one TLS write."""
        client = self._clients.get(connection)
        link = None if client is None else client.http or self._link(connection)
        if client is None or link is None or not client.accepted.authenticated:
            return
        link.send(frame)
        if client.connection.waiting > self._limits.connection.waiting_max // 16:
            self._relieve()

    def _relieve(self) -> None:
        """Cut off the client that reads least, if too much waits for all of them together."""
        waiting = {number: client.connection.waiting for number, client in self._clients.items()}
        if sum(waiting.values()) > self._limits.waiting_total:
            self._clients[max(waiting, key=lambda number: waiting[number])].connection.abort("slow_reader")

    def rest(self, connection: int, for_s: float) -> None:
        """Read nothing from a connection for so long; nothing is lost."""
        client = self._clients.get(connection)
        socket = None if client is None else client.accepted.socket
        if socket is not None:
            socket.rest(for_s)

    def frames_refused(self, connection: int, count: int, offences: int) -> None:
        """Count frames that a gate in another process has refused. One client's HTTP is ours, and has no offences."""
        link = self._link(connection)
        if link is not None and (
            count > REFUSED_MAX or any(self.is_offence_too_many(connection) for _ in range(offences))
        ):
            link.dismiss("rejected", "too_many_refused")

    def close(self, connection: int, word: str) -> None:
        """End a connection with one word."""
        client = self._clients.get(connection)
        link = None if client is None else client.http or self._link(connection)
        if link is not None:
            link.dismiss(word, "closed_" + word)
