"""A TLS 1.3 server on our engine: it accepts on listening sockets that it is given, and gives each connection to the
handler of the ALPN name that was agreed on. asyncio.

    server = TlsServer(context, {"echo/1": lambda client: Echo(client.connection)})
    server.listen(descriptor)

Any handler can sit on it: it gets plaintext in `received_untrusted`, writes by `connection.write`, and hears `lost`
once. With the one name "" ALPN does not matter. The door (`loops/door/door.py`) is one of these, with sessions on it.

The process that runs this can accept connections but make none: it holds a listening descriptor and no right to
create sockets. Admission comes before any state; a client that stays silent costs a socket and a few KiB, and the
TLS engine exists only once its hello is whole. A context is chosen at accept, so `swap_context` changes nothing for
those who are here. What is refused goes to `note` as (address, word): the client gets an alert or a close_notify.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.tls.client_hello import GROUPS
from tlsrt.channels.tls.connection import ConnectionLimits, Handler, TlsConnection
from tlsrt.channels.tls.engine import TlsEngine
from tlsrt.channels.tls.epoll_transport import STRANGER_COST, EpollLoop, EpollTransport
from tlsrt.loops.door.admission import Admission, AdmissionLimits, address_key, plain_address
from tlsrt.loops.door.proxy_connection import ProxyConnection
from tlsrt.loops.gate.block_list import SHARE, BlockList

ACCEPTS_PER_TURN = 32  # so that a flood of connections does not starve those who are here
READ_BYTES = 17 * 1024  # one TLS record, or so many frames that the others do not wait for long
ACCEPT_PAUSE_S = 0.1  # after running out of descriptors or memory
LIFETIME_S = 8 * 3600 + 600.0  # a little more than a session lasts
_ORDERLY = frozenset(
    {"closed", "enrolled", "closed_by_peer", "cut", "reset", "idle", "draining", "ended"}
)  # nobody's fault
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The bounds of a server. Whoever says nothing for `idle_s`, or is here for `lifetime_s`, is dismissed."""

    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)
    idle_s: float = 900.0
    lifetime_s: float = LIFETIME_S
    groups: tuple[int, ...] = GROUPS  # for the key exchange
    proxies: frozenset[str] = frozenset()  # as `plain_address` writes them


@dataclass(slots=True)
class Connected:
    """A connection from accept to its end."""

    number: int
    key: str  # what admission counts it as
    address: str
    connection: TlsConnection
    since: float  # the loop's time
    authenticated: bool = False
    subject: str = ""  # who it has proved to be
    left: bool = False  # it is no longer counted


Handlers = Mapping[str, Callable[[Connected], Handler]]  # by ALPN name; with "" alone, whatever it is


@dataclass(frozen=True, slots=True)
class UnauthenticatedHandlers:
    """How clients without a certificate come in: by this ALPN name, the only one of that context, to this handler."""

    protocol: str
    context: ssl.SSLContext
    handler: Callable[[Connected], Handler]


class TlsServer:
    """The server. All methods belong to the event loop's thread; a number that is gone is ignored everywhere.

    `anonymous` is for contexts that ask for no certificate: every other connection without one is refused, whatever
    OpenSSL said. A handler that knows who somebody is says so by `authenticate`. `strangers` are clients that have no
    certificate yet and say so by the one ALPN name that they offer.
    """

    def __init__(
        self, context: ssl.SSLContext, handlers: Handlers, limits: ServerLimits | None = None,
        note: Callable[[str, str], None] = lambda address, word: None, turn: WriteBatch | None = None, *,
        anonymous: bool = False, strangers: UnauthenticatedHandlers | None = None,
    ) -> None:  # fmt: skip
        self.counters: Counter[str] = Counter()
        self._context = context
        self._handlers = handlers
        self._protocols = () if set(handlers) == {""} else tuple(handlers)
        self._server_limits = limits or ServerLimits()
        self._note = note
        self._anonymous = anonymous
        self._strangers = strangers
        self.shut = BlockList()
        self._admission = Admission(self._server_limits.admission)
        # Somebody did wrong: what he is counted as, the number of his connection if he had proved who he is, the word
        self.on_offence: Callable[[str, int, str], None] = lambda key, number, word: None
        self._connected: dict[int, Connected] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._turn = turn or WriteBatch()
        self._wires = EpollLoop(self._turn)
        self._numbers = 0
        self._prefaces: set[ProxyConnection] = set()  # of proxies that have not said yet for whom they speak
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
        return self._admission.unauthenticated

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
        """Begin with TLS, or, where a proxy speaks, with its word for whom."""
        if plain_address(address) in self._server_limits.proxies:
            self._hear_proxy(accepted, address)
            return
        connection = self._new_connection(address)
        if connection is None:
            accepted.close()
            return
        try:
            self._wires.add(accepted, connection, address_key(address), STRANGER_COST)
        except OSError:  # it has gone already
            accepted.close()
            connection.connection_lost(None)

    def _hear_proxy(self, accepted: socket.socket, address: str) -> None:
        """Read a PROXY header first; so many may be at that as may be unauthenticated."""
        if len(self._prefaces) >= self._server_limits.admission.unauthenticated:
            accepted.close()
            self._note_end(address, "too_many_unauthenticated")
            return
        preface = ProxyConnection(
            lambda behind: self._new_connection(behind or address), lambda reason: self._note_end(address, reason),
            lambda: self._prefaces.discard(preface), self._server_limits.connection.handshake_s,
        )  # fmt: skip
        self._prefaces.add(preface)
        try:
            self._wires.add(accepted, preface, address_key(address), STRANGER_COST)
        except OSError:
            accepted.close()
            preface.connection_lost(None)

    def _new_connection(self, address: str) -> TlsConnection | None:
        """Count a connection and give it a number; None if it is one too many."""
        key = address_key(address)
        now = self._loop.time()
        if self.shut.is_blocked(key, now):
            self._note_end(address, "blocked")
            return None
        share = SHARE if self.shut.is_limited(key, now) else 1
        word = self._admission.admit(key, now, share)
        if word == "too_many_unauthenticated" and self._make_room(key):
            word = self._admission.admit(key, now, share)
        if word:
            self._note_end(address, word)
            self.on_offence(key, 0, word)
            return None
        self._numbers += 1
        number = self._numbers
        strangers = self._strangers
        engine = TlsEngine(
            self._context, server_side=True, protocols=self._protocols, groups=self._server_limits.groups,
            strangers=(strangers.protocol, strangers.context) if strangers is not None else None,
        )  # fmt: skip
        connection = TlsConnection(
            engine, lambda connection: self._choose(number), gone=lambda: self._gone(number),
            ended=lambda reason: self._ended(number, address, key, reason), limits=self._server_limits.connection,
            buffer=self._buffer, anonymous=self._anonymous,
        )  # fmt: skip
        self._connected[number] = self._new_client(number, key, address, connection)
        self._empty.clear()
        return connection

    def _new_client(self, number: int, key: str, address: str, connection: TlsConnection) -> Connected:
        return Connected(number, key, address, connection, self._loop.time())

    def _make_room(self, key: str) -> bool:
        """Cut the oldest unauthenticated connection of the address that has most of them, if it can spare one."""
        crowd = self._admission.crowd(key)
        victims = (client for client in self._connected.values() if client.key == crowd and not client.authenticated)
        victim = next(victims, None) if crowd else None
        if victim is None:
            return False
        victim.connection.abort("crowded_out")
        self._leave(victim)
        return True

    # -- connections -------------------------------------------------------------------------------------------

    def _choose(self, number: int) -> Handler:
        client = self._connected[number]
        self.counters["handshakes"] += 1
        if client.connection.engine.is_stranger:
            assert self._strangers is not None
            return self._strangers.handler(client)
        if not self._protocols:
            return self._handlers[""](client)
        return self._handlers[client.connection.engine.protocol or ""](client)  # the engine insists on one of ours

    def authenticate(self, client: Connected, subject: str) -> None:
        """Count a connection as somebody's from now on, and charge what it brings to him."""
        if client.authenticated or client.left:
            return
        client.authenticated, client.subject = True, subject
        self._admission.authenticate(client.key)
        if isinstance(client.connection.transport, EpollTransport):
            client.connection.transport.charge_to(subject or client.key)

    def _ended(self, number: int, address: str, key: str, reason: str) -> None:
        """A connection has ended, or ends: count why, and whose fault that is."""
        self._note_end(address, reason)
        if reason not in _ORDERLY and not reason.startswith("closed_"):
            client = self._connected.get(number)
            self.on_offence(key, number if client is not None and client.authenticated else 0, reason)

    def shut_out(self, step: str, key: str, for_s: float) -> None:
        """Give an address a quarter of the connections ("limit") or none ("block") for a time; for 0, free it."""
        until = self._loop.time() + for_s
        if not for_s:
            self.shut.free(key)
        elif step == "limit":
            self.shut.limit(key, until)
        else:
            self.shut.block(key, until)
            for client in [each for each in self._connected.values() if each.key == key and not each.authenticated]:
                client.connection.abort("blocked")

    def _note_end(self, address: str, reason: str) -> None:
        self.counters[reason] += 1
        if reason not in _ORDERLY and not reason.startswith("closed_"):
            self._note(address, reason)

    def _gone(self, number: int) -> None:
        client = self._connected.pop(number)
        self._leave(client)
        if not self._connected:
            self._empty.set()

    def _leave(self, client: Connected) -> None:
        """Count a connection no longer; it may have been cut already to make room."""
        if not client.left:
            client.left = True
            self._admission.leave(client.key, authenticated=client.authenticated)

    def _sweep(self) -> None:
        """End connections on which nothing was heard for too long, or that are too old."""
        now = self._loop.time()
        limits = self._server_limits
        for client in list(self._connected.values()):
            if client.since < now - limits.lifetime_s:
                self._dismiss(client, "ended")
            elif client.connection.heard < now - limits.idle_s and not self._may_be_silent(client):
                self._dismiss(client, "idle")
        self._sweeper = self._loop.call_later(limits.idle_s / 4, self._sweep)

    def _may_be_silent(self, client: Connected) -> bool:
        """Say whether somebody may listen for ever; then his protocol has a patience of its own."""
        return False

    def _dismiss(self, client: Connected, word: str) -> None:
        """End a connection in good order; a protocol may have a word for it."""
        client.connection.close(word)

    async def drain(self, timeout_s: float, word: str = "draining") -> None:
        """Accept no more, say goodbye to all, and wait until they are gone; cut off who is not after the time."""
        self.stop_listening()
        self._sweeper.cancel()
        for preface in list(self._prefaces):
            preface.end(word)
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
        self._wires.close()
