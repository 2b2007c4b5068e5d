"""TLS 1.3 server on our engine. It accepts on listening sockets that it gets, and gives each connection to the
handler of the ALPN name that was agreed on. asyncio.

    server = TlsServer(context, {"echo/1": lambda client: Echo(client.connection)})
    server.listen(descriptor)

Any handler can sit on it: it gets plaintext in `received_untrusted`, writes by `connection.write`, and `lost` is called
once. With the one name "" ALPN does not matter. The door (`loops/door/door.py`) is one of these, with sessions on it.

The process that runs this can accept connections but make none: it holds a listening descriptor and no right to
create sockets. Admission (admission.py) comes before any state: it says who finds a place, and who loses it for that;
a client that stays silent costs a socket and a few KiB, and the TLS engine exists only once its hello is whole. A
context is chosen at accept, so existing connections keep theirs when `swap_context` is called. What is refused is told
to the observer: the client gets an alert or a close_notify.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from tlsrt.budget import Budget
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.tls.client_hello import GROUPS
from tlsrt.channels.tls.connection import ConnectionLimits, Handler, TlsConnection
from tlsrt.channels.tls.engine import TlsEngine
from tlsrt.channels.tls.epoll_transport import STRANGER_COST, EpollLoop, EpollTransport
from tlsrt.errors import PeerError
from tlsrt.loops.door.addresses import address_key, plain_address
from tlsrt.loops.door.admission import Admission, AdmissionLimits
from tlsrt.loops.door.client_names import name_of_client
from tlsrt.loops.door.fair_pool import Answer, FairPool, Stage
from tlsrt.loops.door.proxy import ProxyConnection
from tlsrt.loops.gate.block_list import SHARE, BlockList

ACCEPTS_PER_TURN = 32  # so that a flood of connections does not starve those that exist
READ_BYTES = 17 * 1024  # one TLS record, or so many frames that the others do not wait for long
ACCEPT_PAUSE_S = 0.1  # after running out of descriptors or memory
LIFETIME_S = 8 * 3600 + 600.0  # a little more than a session lasts
_ORDERLY = frozenset(
    {"closed", "enrolled", "closed_by_peer", "cut", "reset", "idle", "draining", "ended"}
)  # no one's fault
# Offences of all behind an address together: known clients there would be shut out for those of others.
_CROWDING = frozenset({"hello_timeout", "handshake_timeout", "too_fast_from_address", "too_many_from_address"})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The bounds of a server. A connection is ended after `idle_s` of silence, and after `lifetime_s` in any case."""

    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)
    idle_s: float = 900.0
    lifetime_s: float = LIFETIME_S
    groups: tuple[int, ...] = GROUPS  # for the key exchange
    proxies: frozenset[str] = frozenset()  # as `plain_address` writes them


class AcceptedConnection:
    """A connection from accept to its end, as its server knows it."""

    def __init__(self, server: TlsServer, number: int, address: str, since: float, share: int) -> None:
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

    def choose_handler(self) -> Handler:
        return self._server.choose_handler(self)

    def on_handshake_bytes(self, *, has_hello: bool) -> None:
        self._server.on_handshake_bytes(self, has_hello=has_hello)

    def on_asked(self) -> None:
        """A client without a certificate has said what it wants."""
        self._server.on_asked(self)

    def on_end(self, reason: str) -> None:
        self._server.on_end(self, reason)

    def on_socket_closed(self) -> None:
        self._server.on_socket_closed(self)


Handlers = Mapping[str, Callable[[AcceptedConnection], Handler]]  # by ALPN name; with "" alone, whatever it is


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
    """Protocol, context and handler of clients without a certificate."""

    protocol: str
    context: ssl.SSLContext
    handler: Callable[[AcceptedConnection, str], Handler]  # with the word why there is no room, or ""


class TlsServer:
    """The server. All methods belong to the event loop's thread; the number of a closed connection is ignored.

    `anonymous` is for contexts that ask for no certificate: every other connection without one is refused, whatever
    OpenSSL said. A handler that knows who a client is calls `authenticate`. `strangers` are clients that have no
    certificate yet and say so by the one ALPN name that they offer.
    """

    def __init__(
        self, context: ssl.SSLContext, handlers: Handlers, limits: ServerLimits | None = None,
        observer: ServerObserver | None = None, batch: WriteBatch | None = None, *,
        anonymous: bool = False, strangers: UnauthenticatedHandlers | None = None,
    ) -> None:  # fmt: skip
        self.counters: Counter[str] = Counter()
        self._context = context
        self._handlers = handlers
        self._protocols = () if set(handlers) == {""} else tuple(handlers)
        self._server_limits = limits or ServerLimits()
        self._observer = observer
        self._anonymous = anonymous
        self._strangers = strangers
        self._blocks = BlockList()
        self._admission = Admission(self._server_limits.admission, random.random)
        self._connected: dict[int, AcceptedConnection] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._batch = batch or WriteBatch()
        self._sockets = EpollLoop(self._batch)
        self._numbers = 0
        self._proxied: set[ProxyConnection] = set()  # whose PROXY header has not come yet
        self._buffer = bytearray(READ_BYTES)
        self._loop = asyncio.get_running_loop()
        self._empty = asyncio.Event()
        self._sweeper = self._loop.call_later(self._server_limits.idle_s / 4, self._sweep)

    @property
    def connections(self) -> int:
        """How many connections there are, in every stage."""
        return self._admission.connections

    @property
    def unauthenticated(self) -> int:
        """How many of them have not shown a certificate that was verified."""
        return self._admission.unauthenticated

    def set_operators(self, operators: Collection[str]) -> None:
        """Keep some places for these clients, which may lock or unlock the host."""
        self._admission.set_operators(operators)

    # -- accepting ---------------------------------------------------------------------------------------------

    def listen(self, descriptor: int) -> None:
        """Accept on a dup of this listening socket from now on; once, however often it is said."""
        if descriptor in self._listeners:
            return
        listener = socket.socket(fileno=os.dup(descriptor))
        listener.setblocking(False)
        self._listeners[descriptor] = listener
        self._loop.add_reader(listener.fileno(), self._accept, listener)

    def stop_listening(self) -> None:
        """Accept no more. The sockets themselves belong to the supervisor and stay open there."""
        for listener in self._listeners.values():
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def swap_context(self, context: ssl.SSLContext, strangers: ssl.SSLContext | None = None) -> None:
        """Use this context from the next accept on, and that one for strangers."""
        self._context = context
        if self._strangers is not None and strangers is not None:
            self._strangers = replace(self._strangers, context=strangers)

    def _accept(self, listener: socket.socket) -> None:
        if self._sockets.has_waiting_strangers and self._admission.strangers.is_busy:
            return  # those that were never read come first: more would only wait here instead of in the kernel
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, name = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener)
                return  # else: the client went away before we took it
            self._admit(accepted, str(name[0]))

    def _pause(self, listener: socket.socket) -> None:
        self._note_end("", "no_descriptors")
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(ACCEPT_PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listeners.values():
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _admit(self, accepted: socket.socket, address: str) -> None:
        """Begin with TLS, or with the header of a proxy."""
        if plain_address(address) in self._server_limits.proxies:
            self._hear_proxy(accepted, address)
            return
        connection = self._new_connection(address)
        if connection is None:
            accepted.close()
            return
        try:
            self._sockets.add(accepted, connection, address_key(address), STRANGER_COST)
        except OSError:  # it is closed already
            accepted.close()
            connection.connection_lost(None)

    def _hear_proxy(self, accepted: socket.socket, address: str) -> None:
        """Read a PROXY header first; so many may be at that as may be unauthenticated."""
        if len(self._proxied) >= self._server_limits.admission.unauthenticated:
            accepted.close()
            self._note_end(address, "too_many_unauthenticated")
            return
        proxied = ProxyConnection(self, address, self._server_limits.connection.handshake_s)
        self._proxied.add(proxied)
        try:
            self._sockets.add(accepted, proxied, address_key(address), STRANGER_COST)
        except OSError:
            accepted.close()
            proxied.connection_lost(None)

    def admit_proxied(self, proxy: str, address: str) -> TlsConnection | None:
        """Admit a client that a proxy speaks for; without an address the proxy speaks for itself."""
        return self._new_connection(address or proxy)

    def on_proxy_failed(self, proxy: str, reason: str) -> None:
        """Count a proxy's connection that ended before its header was whole."""
        self._note_end(proxy, reason)

    def on_proxy_done(self, connection: ProxyConnection) -> None:
        """Forget a proxy's connection: its header was read, or it is closed."""
        self._proxied.discard(connection)

    def _new_connection(self, address: str) -> TlsConnection | None:
        """Count a connection and give it a number; None if it is one too many."""
        key = address_key(address)
        now = self._loop.time()
        if self._blocks.is_blocked(key, now):
            self._note_end(address, "blocked")
            return None
        share = SHARE if self._blocks.is_limited(key, now) else 1
        word = "" if self._admission.may_come(address, now, share) else "too_fast_from_address"
        word = word or self._make_room(self._admission.strangers, lambda: self._admission.ask(address, now, share))
        if word:
            self._note_end(address, word)
            self._note_offence(address, 0, word)
            return None
        self._numbers += 1
        client = self._connected[self._numbers] = self.new_client(self._numbers, address, share)
        self._empty.clear()
        early = self._admission.add(client.number, address, now)
        if early:
            self._cut_stranger(self._admission.strangers, early)
        return client.connection

    def _make_room(self, pool: FairPool, ask: Callable[[], Answer]) -> str:
        """Cut those that are to make room; return the word why there is none all the same, or nothing."""
        while (answer := ask()).cut:
            self._cut_stranger(pool, answer.cut)
        return answer.refused

    def _cut_stranger(self, pool: FairPool, number: int) -> None:
        """Cut a connection; but not for its silence, if what it has sent was only not read yet."""
        client = self._connected[number]
        transport = client.connection.transport
        if pool.is_silent(number) and isinstance(transport, EpollTransport) and transport.has_unread():
            pool.step(number, Stage.PARTIAL, self._loop.time())
            return
        client.connection.abort("crowded_out")
        self._leave(client)

    def new_client(self, number: int, address: str, share: int) -> AcceptedConnection:
        """Return the record of a new connection."""
        return AcceptedConnection(self, number, address, self._loop.time(), share)

    def new_tls(self, owner: AcceptedConnection) -> TlsConnection:
        """Return the TLS of a new connection."""
        strangers = self._strangers
        engine = TlsEngine(
            self._context, server_side=True, protocols=self._protocols, groups=self._server_limits.groups,
            strangers=(strangers.protocol, strangers.context) if strangers is not None else None,
        )  # fmt: skip
        return TlsConnection(engine, owner, self._server_limits.connection, self._buffer, anonymous=self._anonymous)

    # -- connections -------------------------------------------------------------------------------------------

    def choose_handler(self, client: AcceptedConnection) -> Handler:
        """Return the handler of the protocol that was agreed on."""
        self.counters["handshakes"] += 1
        engine = client.connection.engine
        if engine.is_stranger:
            assert self._strangers is not None
            return self._strangers.handler(client, self._enrol(client))
        if engine.certificate:
            self._verify(client, name_of_client(engine.names, engine.certificate))
        if not self._protocols:
            return self._handlers[""](client)
        return self._handlers[client.connection.engine.protocol or ""](client)  # the engine insists on one of ours

    def on_handshake_bytes(self, client: AcceptedConnection, *, has_hello: bool) -> None:
        """Note how far a handshake has come."""
        if not client.left:
            stage = Stage.WHOLE if has_hello else Stage.PARTIAL
            self._admission.strangers.step(client.number, stage, self._loop.time())

    def on_asked(self, client: AcceptedConnection) -> None:
        """Note that a client without a certificate has said what it wants."""
        if not client.left:
            self._admission.enrolments.step(client.number, Stage.WHOLE, self._loop.time())

    def _enrol(self, client: AcceptedConnection) -> str:
        """Count a connection as one without a certificate; return the word why there is no room, or nothing."""
        now = self._loop.time()
        word = self._make_room(self._admission.enrolments, lambda: self._admission.ask_to_enrol(client.address, now))
        if not word and not client.left:
            self._admission.enrol(client.number, client.address, now)
        return word

    def _verify(self, client: AcceptedConnection, account: str) -> None:
        """Count a connection as one of this client, and no longer of its address. PeerError if it has no place."""
        if client.account or client.left:
            return
        while (answer := self._admission.ask_as_client(account)).cut:
            greedy = self._connected[answer.cut]
            self._note_over_places(answer.greedy)
            self._leave(greedy)
            self._dismiss(greedy, "busy")
        if answer.refused:
            raise PeerError(answer.refused)
        client.account = account
        if not self._admission.verify(
            client.number, client.address, account, client, self._loop.time(),
            certificate=client.connection.engine.certificate or account.encode(), share=client.share,
        ):  # fmt: skip
            self._note_over_places(account)
            raise PeerError("busy")
        if isinstance(client.connection.transport, EpollTransport):
            client.connection.transport.charge_to(account)

    def _note_over_places(self, client: str) -> None:
        self.counters[Budget.PLACES] += 1
        if self._observer is not None:
            self._observer.on_over_places(client)

    def authenticate(self, client: AcceptedConnection, subject: str) -> None:
        """Note that a connection has proved to be this subject's, and charge what it sends to that."""
        if client.authenticated or client.left:
            return
        client.authenticated, client.subject = True, subject
        self._verify(client, subject or client.key)
        if isinstance(client.connection.transport, EpollTransport):
            client.connection.transport.charge_to(subject or client.key)

    def on_end(self, client: AcceptedConnection, reason: str) -> None:
        """Count why a connection ends, and whose fault that is."""
        self._note_end(client.address, reason)
        self._note_offence(client.address, client.number if client.authenticated else 0, reason)

    def _note_offence(self, address: str, connection: int, reason: str) -> None:
        if self._observer is None or reason in _ORDERLY or reason.startswith("closed_"):
            return
        if reason not in _CROWDING or connection or not self._admission.has_clients(address, self._loop.time()):
            self._observer.on_offence(address_key(address), connection, reason)

    def block(self, step: str, key: str, for_s: float) -> None:
        """Give an address a quarter of the connections ("limit") or none ("block") for a time. For 0, lift that."""
        until = self._loop.time() + for_s
        if not for_s:
            self._blocks.free(key)
        elif step == "limit":
            self._blocks.limit(key, until)
        else:
            self._blocks.block(key, until)
            for client in [each for each in self._connected.values() if each.key == key and not each.account]:
                client.connection.abort("blocked")

    def _note_end(self, address: str, reason: str) -> None:
        self.counters[reason] += 1
        if self._observer is not None and reason not in _ORDERLY and not reason.startswith("closed_"):
            self._observer.on_refused(address, reason)

    def on_socket_closed(self, client: AcceptedConnection) -> None:
        """Forget a connection."""
        del self._connected[client.number]
        self._leave(client)
        if not self._connected:
            self._empty.set()

    def _leave(self, client: AcceptedConnection) -> None:
        """Count a connection no longer; it may have been cut already to make room."""
        if not client.left:
            client.left = True
            self._admission.leave(client.number)

    def _sweep(self) -> None:
        """End connections that were silent for too long, or that are too old."""
        now = self._loop.time()
        limits = self._server_limits
        for client in list(self._connected.values()):
            if client.since < now - limits.lifetime_s:
                self._dismiss(client, "ended")
            elif client.connection.heard < now - limits.idle_s and not self._may_be_silent(client):
                self._dismiss(client, "idle")
        self._sweeper = self._loop.call_later(limits.idle_s / 4, self._sweep)

    def _may_be_silent(self, client: AcceptedConnection) -> bool:
        """Whether a client may be silent for ever; then its protocol has a timeout of its own."""
        return False

    def _dismiss(self, client: AcceptedConnection, word: str) -> None:
        """End a connection in good order; a protocol may have a word for it."""
        client.connection.close(word)

    async def drain(self, timeout_s: float, word: str = "draining") -> None:
        """Accept no more, dismiss all clients, and wait until they are closed. Cut those that are not in time."""
        self.stop_listening()
        self._sweeper.cancel()
        for proxied in list(self._proxied):
            proxied.end(word)
        for client in list(self._connected.values()):
            self._dismiss(client, word)
        try:
            async with asyncio.timeout(timeout_s):
                while self._connected:
                    await self._empty.wait()
        except TimeoutError:
            for client in list(self._connected.values()):
                client.connection.abort(word)
            while self._connected:
                await self._empty.wait()
        self._sockets.close()
