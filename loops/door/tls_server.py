"""TLS 1.3 server on our engine: each connection gets the handler that its service has for it. asyncio.

    server = TlsServer(context, service)
    server.listen(descriptor)

Any service can sit on it (service.py): it is told of each connection whose handshake is over, with the ALPN name that
was agreed on, and returns a handler. That gets plaintext in `received_untrusted`, writes by `connection.write`, and
`lost` is called once. The door (door.py) and the door of a locked host (locked_door.py) are services.

The process that runs this can accept connections but make none: it holds a listening descriptor and no right to
create sockets. Admission (admission.py) comes before any state: it says who finds a place, and who loses it for that;
a client that stays silent costs a socket and a few KiB, and the TLS engine exists only once its hello is whole. A
context is chosen at accept, so existing connections keep theirs when `swap_context` is called. What is refused is told
to the observer: the client gets an alert or a close_notify.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.tls.client_hello import GROUPS
from tlsrt.channels.tls.connection import ConnectionLimits, Handler, TlsConnection
from tlsrt.channels.tls.engine import Choose, TlsEngine
from tlsrt.channels.tls.epoll_transport import STRANGER_COST, EpollLoop
from tlsrt.errors import PeerError
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.addresses import address_key, plain_address
from tlsrt.loops.door.admission import AdmissionLimits
from tlsrt.loops.door.client_names import name_of_client
from tlsrt.loops.door.connection_ends import ConnectionEnds
from tlsrt.loops.door.connections import Connections
from tlsrt.loops.door.listeners import Listeners
from tlsrt.loops.door.proxy import ProxyConnection
from tlsrt.loops.door.service import ServerObserver, TlsService, UnauthenticatedHandlers

READ_BYTES = 17 * 1024  # one TLS record, or so many frames that the others do not wait for long
LIFETIME_S = 8 * 3600 + 600.0  # a little more than a session lasts


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The bounds of a server. A connection is ended after `idle_s` of silence, and after `lifetime_s` in any case."""

    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)
    idle_s: float = 900.0
    lifetime_s: float = LIFETIME_S
    groups: tuple[int, ...] = GROUPS  # for the key exchange
    proxies: frozenset[str] = frozenset()  # as `plain_address` writes them


class TlsServer:
    """The server. All methods belong to the event loop's thread.

    `anonymous` is for contexts that ask for no certificate: every other connection without one is refused, whatever
    OpenSSL said. A handler that knows who a client is calls `client.authenticate`. `strangers` are clients that have
    no certificate yet and say so by the one ALPN name that they offer. Connections have these
    `numbers`, or those from 1.
    """

    def __init__(
        self, context: ssl.SSLContext, service: TlsService, limits: ServerLimits | None = None,
        observer: ServerObserver | None = None, batch: WriteBatch | None = None, *,
        anonymous: bool = False, strangers: UnauthenticatedHandlers | None = None, numbers: Iterator[int] | None = None,
    ) -> None:  # fmt: skip
        self._context = context
        self._service = service
        self._protocols = service.protocols
        self._limits = limits or ServerLimits()
        self._anonymous = anonymous
        self._strangers = {strangers.protocol: strangers} if strangers is not None else {}
        self._choose: Choose | None = None
        self._ends = ConnectionEnds(observer)
        self._connections = Connections(self._limits.admission, service, self._ends, numbers)
        self._listeners = Listeners(self)
        self._sockets = EpollLoop(batch or WriteBatch())
        self._proxied: set[ProxyConnection] = set()  # whose PROXY header has not come yet
        self._buffer = bytearray(READ_BYTES)
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.call_later(self._limits.idle_s / 4, self._sweep)

    @property
    def counters(self) -> Counter[str]:
        """How many handshakes there were, and how many connections ended for each reason."""
        return self._ends.counters

    @property
    def connections(self) -> int:
        """How many connections there are, in every stage."""
        return self._connections.places

    @property
    def unauthenticated(self) -> int:
        """How many of them have not shown a certificate that was verified."""
        return self._connections.unauthenticated

    @property
    def listeners(self) -> int:
        """How many sockets it accepts on."""
        return len(self._listeners)

    @property
    def proxied(self) -> int:
        """How many connections of proxies have not said yet for whom they are."""
        return len(self._proxied)

    def set_operators(self, operators: Collection[str]) -> None:
        """Keep some places for these clients, which may lock or unlock the host."""
        self._connections.set_operators(operators)

    def block(self, step: str, key: str, for_s: float) -> None:
        """Give an address a quarter of the connections ("limit") or none ("block") for a time. For 0, lift that."""
        self._connections.block(step, key, for_s)

    def swap_context(self, context: ssl.SSLContext) -> None:
        """Use this context from the next accept on."""
        self._context = context

    def choose_context(self, choose: Choose | None) -> None:
        """Have this choose the context of a client by its hello, from the next accept on; None: there is one."""
        self._choose = choose

    def take_strangers(self, protocol: str, handlers: UnauthenticatedHandlers | None) -> None:
        """Take clients without a certificate that speak this protocol from the next accept on, or take them no more."""
        others = {name: one for name, one in self._strangers.items() if name != protocol}
        self._strangers = {**others, protocol: handlers} if handlers is not None else others

    # -- accepting ---------------------------------------------------------------------------------------------

    def listen(self, descriptor: int) -> None:
        """Accept on a dup of this listening socket from now on; once, however often it is said."""
        self._listeners.listen(descriptor)

    def stop_listening(self) -> None:
        """Accept no more. The sockets themselves belong to the supervisor and stay open there."""
        self._listeners.close()

    def may_accept(self) -> bool:
        """Read those that are here first, once each: more would only wait here instead of in the kernel."""
        return not (self._sockets.has_waiting_strangers and self._connections.is_busy)

    def on_exhausted(self) -> None:
        """Count a connection that there was no descriptor for."""
        self._ends.note("", "no_descriptors")

    def take(self, accepted: socket.socket, address: str) -> None:
        """Begin with TLS, or with the header of a proxy."""
        if plain_address(address) in self._limits.proxies:
            self._hear_proxy(accepted, address)
            return
        client = self._connections.add(self, address)
        if client is None:
            accepted.close()
        else:
            self._serve(accepted, address, client.connection)

    def _serve(self, accepted: socket.socket, address: str, protocol: asyncio.BufferedProtocol) -> None:
        try:
            self._sockets.add(accepted, protocol, address_key(address), STRANGER_COST)
        except OSError:  # it is closed already
            accepted.close()
            protocol.connection_lost(None)

    # -- proxies -----------------------------------------------------------------------------------------------

    def _hear_proxy(self, accepted: socket.socket, address: str) -> None:
        """Read a PROXY header first; so many may be at that as may be unauthenticated."""
        if len(self._proxied) >= self._limits.admission.unauthenticated:
            accepted.close()
            self._ends.note(address, "too_many_unauthenticated")
            return
        proxied = ProxyConnection(self, address, self._limits.connection.handshake_s)
        self._proxied.add(proxied)
        self._serve(accepted, address, proxied)

    def admit_proxied(self, proxy: str, address: str) -> TlsConnection | None:
        """Admit a client that a proxy speaks for; without an address the proxy speaks for itself."""
        client = self._connections.add(self, address or proxy)
        return None if client is None else client.connection

    def on_proxy_failed(self, proxy: str, reason: str) -> None:
        """Count a proxy's connection that ended before its header was whole."""
        self._ends.note(proxy, reason)

    def on_proxy_done(self, connection: ProxyConnection) -> None:
        """Forget a proxy's connection: its header was read, or it is closed."""
        self._proxied.discard(connection)

    # -- connections -------------------------------------------------------------------------------------------

    def new_tls(self, owner: AcceptedConnection) -> TlsConnection:
        """Return the TLS of a new connection."""
        strangers = {name: one.context for name, one in self._strangers.items() if one.context is not None}
        guests = [name for name, one in self._strangers.items() if one.context is None]
        engine = TlsEngine(
            self._context, server_side=True, protocols=self._protocols, groups=self._limits.groups, strangers=strangers,
            choose=self._choose, guests=guests,
        )  # fmt: skip
        return TlsConnection(engine, owner, self._limits.connection, self._buffer, anonymous=self._anonymous)

    def choose_handler(self, client: AcceptedConnection) -> Handler:
        """Return the handler of the protocol that was agreed on."""
        self.counters["handshakes"] += 1
        engine = client.connection.engine
        if engine.stranger:
            strangers = self._strangers.get(engine.stranger)
            if strangers is None:  # they are taken no more, since its hello
                raise PeerError("closed_challenge")
            return strangers.handler(client, self._connections.enrol(client, is_guest=strangers.context is None))
        if engine.certificate:
            self._connections.verify(client, name_of_client(engine.names, engine.certificate))
        protocol = engine.protocol or "" if self._protocols else ""  # the engine insists on one of ours
        return self._service.on_connected(client, protocol)

    def on_handshake_bytes(self, client: AcceptedConnection, *, has_hello: bool) -> None:
        self._connections.on_handshake_bytes(client, has_hello=has_hello)

    def on_asked(self, client: AcceptedConnection) -> None:
        self._connections.on_asked(client)

    def authenticate(self, client: AcceptedConnection, subject: str) -> None:
        self._connections.authenticate(client, subject)

    def on_end(self, client: AcceptedConnection, reason: str) -> None:
        self._connections.note_end(client.address, client.number if client.authenticated else 0, reason)

    def on_socket_closed(self, client: AcceptedConnection) -> None:
        self._service.on_lost(client)
        self._connections.remove(client)

    # -- the end -----------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """End connections that were silent for too long, or that are too old."""
        now = self._loop.time()
        limits = self._limits
        for client in self._connections:
            if client.since < now - limits.lifetime_s:
                self._service.dismiss(client, "ended")
            elif client.connection.heard < now - limits.idle_s and not self._service.may_be_silent(client):
                self._service.dismiss(client, "idle")
        self._sweeper = self._loop.call_later(limits.idle_s / 4, self._sweep)

    async def cut(self, word: str) -> None:
        """Accept no more, and cut all clients: what was behind them has ended."""
        self.stop_listening()
        self._sweeper.cancel()
        for proxied in list(self._proxied):
            proxied.end(word)
        for client in self._connections:
            client.connection.abort(word)
        await self._connections.wait_empty()
        self._sockets.close()

    async def drain(self, timeout_s: float, word: str = "draining") -> None:
        """Accept no more, dismiss all clients, and wait until they are closed. Cut those that are not in time."""
        self.stop_listening()
        self._sweeper.cancel()
        for proxied in list(self._proxied):
            proxied.end(word)
        for client in self._connections:
            self._service.dismiss(client, word)
        try:
            async with asyncio.timeout(timeout_s):
                await self._connections.wait_empty()
        except TimeoutError:
            for client in self._connections:
                client.connection.abort(word)
            await self._connections.wait_empty()
        self._sockets.close()
