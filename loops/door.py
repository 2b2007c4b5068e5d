"""The TLS door: accepts clients on the supervisor's listening sockets and gives each a number. asyncio.

The process that runs this can accept connections but make none: it holds a listening descriptor and no right to
create sockets. Admission comes before any state; a client that stays silent costs a socket and a few KiB, and the
TLS engine exists only once its hello is whole. A context is chosen at accept, so `swap_context` changes nothing for
those who are here. What the door refuses goes to `note` as (address, word): the client gets an alert, a close_notify
or one generic word.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlsrt.channels.client_hello import GROUPS, X25519MLKEM768
from tlsrt.channels.grant import GrantContent
from tlsrt.channels.stream import PROTOCOL
from tlsrt.channels.tls_connection import ConnectionLimits, Handler, TlsConnection
from tlsrt.channels.tls_engine import TlsEngine
from tlsrt.channels.turn import Turn
from tlsrt.channels.wire import STRANGER_COST, Wire, Wires
from tlsrt.config.schema import DoorConfig
from tlsrt.loops.admission import Admission, AdmissionLimits, address_key, plain_address
from tlsrt.loops.client_link import ClientLink, Hub, Stage
from tlsrt.loops.offences import Offences
from tlsrt.loops.preface import Preface

if TYPE_CHECKING:  # only a host with HTTP clients loads it
    from tlsrt.loops.http_link import HttpLink

ServeHttp = Callable[[TlsConnection, int, Callable[[str], None]], "HttpLink"]
HTTP = "http/1.1"
ACCEPTS_PER_TURN = 32  # so that a flood of connections does not starve those who are here
READ_BYTES = 17 * 1024  # one TLS record, or so many frames that the others do not wait for long
ACCEPT_PAUSE_S = 0.1  # after running out of descriptors or memory
_ORDERLY = frozenset({"closed", "cut", "reset", "idle", "draining"})  # nobody's fault
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """All bounds of the door. `opening_s` is the time from the handshake to the grant; a challenge lives 10 s."""

    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)
    opening_s: float = 10.0
    idle_s: float = 900.0
    waiting_total: int = 128 * 1024 * 1024  # bytes waiting for clients, all together
    groups: tuple[int, ...] = GROUPS  # for the key exchange
    proxies: frozenset[str] = frozenset()  # as `address_key` writes them


def door_limits(config: DoorConfig) -> DoorLimits:
    """Return the limits that a configuration asks for."""
    return DoorLimits(
        AdmissionLimits(
            config.max_connections,
            config.max_unauthenticated,
            config.max_unauthenticated_per_address,
            config.connections_per_address_s,
            10 * config.connections_per_address_s,
        ),
        ConnectionLimits(handshake_s=config.handshake_timeout_s),
        groups=(X25519MLKEM768,) if config.require_post_quantum else GROUPS,
        proxies=frozenset(plain_address(address) for address in config.proxies),
    )


@dataclass(slots=True)
class _Client:
    """A connection from accept to its end."""

    number: int
    key: str  # what admission counts it as
    address: str
    connection: TlsConnection
    link: ClientLink | None = None
    authenticated: bool = False
    session: bytes = b""
    subject: str = ""
    http: HttpLink | None = None
    left: bool = False  # it is no longer counted


def _charge(client: _Client) -> None:
    """Charge what a connection brings to the client that it has proved to be."""
    if isinstance(client.connection.transport, Wire):
        client.connection.transport.charge_to(client.subject or client.key)


class Door:
    """The door. All methods belong to the event loop's thread; a number that is gone is ignored everywhere."""

    def __init__(
        self, hub: Hub, context: ssl.SSLContext, limits: DoorLimits | None = None,
        note: Callable[[str, str], None] = lambda address, word: None, turn: Turn | None = None,
        serve_http: ServeHttp | None = None,
    ) -> None:  # fmt: skip
        self.counters: Counter[str] = Counter()
        self._hub = hub
        self._context = context
        self._limits = limits or DoorLimits()
        self._note = note
        self._admission = Admission(self._limits.admission)
        self.succession = b""  # which issuer keys follow which, for clients that have missed it
        self._offences = Offences()
        self._clients: dict[int, _Client] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._turn = turn or Turn()
        self._wires = Wires(self._turn)
        self._numbers = 0
        self._prefaces: set[Preface] = set()  # of proxies that have not said yet for whom they speak
        self._buffer = bytearray(READ_BYTES)
        self._loop = asyncio.get_running_loop()
        self._empty = asyncio.Event()
        self._sweeper = self._loop.call_later(self._limits.idle_s / 4, self._sweep)
        self._handlers: dict[str, Callable[[_Client], Handler]] = {PROTOCOL: self._welcome}
        if serve_http is not None:
            self._handlers[HTTP] = lambda client: self._welcome_http(client, serve_http)

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

    def swap_context(self, context: ssl.SSLContext) -> None:
        """Use this context from the next accept on."""
        self._context = context

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
        if plain_address(address) in self._limits.proxies:
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
        if len(self._prefaces) >= self._limits.admission.unauthenticated:
            accepted.close()
            self._note_end(address, "too_many_unauthenticated")
            return
        preface = Preface(
            lambda behind: self._new_connection(behind or address), lambda reason: self._note_end(address, reason),
            lambda: self._prefaces.discard(preface), self._limits.connection.handshake_s,
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
        word = self._admission.admit(key, self._loop.time())
        if word == "too_many_unauthenticated" and self._make_room(key):
            word = self._admission.admit(key, self._loop.time())
        if word:
            self._note_end(address, word)
            return None
        self._numbers += 1
        number = self._numbers
        engine = TlsEngine(
            self._context, server_side=True, protocols=tuple(self._handlers), groups=self._limits.groups
        )  # fmt: skip
        connection = TlsConnection(
            engine, lambda connection: self._choose(number), gone=lambda: self._gone(number),
            ended=lambda reason: self._note_end(address, reason), limits=self._limits.connection, buffer=self._buffer,
        )  # fmt: skip
        self._clients[number] = _Client(number, key, address, connection)
        self._empty.clear()
        return connection

    def _make_room(self, key: str) -> bool:
        """Cut the oldest unauthenticated connection of the address that has most of them, if it can spare one."""
        crowd = self._admission.crowd(key)
        victims = (client for client in self._clients.values() if client.key == crowd and not client.authenticated)
        victim = next(victims, None) if crowd else None
        if victim is None:
            return False
        victim.connection.abort("crowded_out")
        self._leave(victim)
        return True

    # -- connections -------------------------------------------------------------------------------------------

    def _choose(self, number: int) -> Handler:
        client = self._clients[number]
        protocol = client.connection.engine.protocol or PROTOCOL  # the engine has insisted on one of ours
        return self._handlers[protocol](client)

    def _welcome(self, client: _Client) -> Handler:
        self.counters["handshakes"] += 1
        client.link = ClientLink(
            client.connection, client.number, self._hub, self._limits.opening_s, self._turn.want,
            lambda: self._offences.note(client.subject or client.key, self._loop.time()),
        )  # fmt: skip
        self._hub.challenge(client.number)
        return client.link

    def _welcome_http(self, client: _Client, serve: ServeHttp) -> Handler:
        self.counters["handshakes"] += 1
        client.http = serve(client.connection, client.number, lambda word: self._note(client.address, word))
        return client.http

    def _note_end(self, address: str, reason: str) -> None:
        self.counters[reason] += 1
        if reason not in _ORDERLY and not reason.startswith("closed_"):
            self._note(address, reason)

    def _gone(self, number: int) -> None:
        client = self._clients.pop(number)
        self._leave(client)
        if not self._clients:
            self._empty.set()

    def _leave(self, client: _Client) -> None:
        """Count a connection no longer; it may have been cut already to make room."""
        if not client.left:
            client.left = True
            self._admission.leave(client.key, authenticated=client.authenticated)

    def _sweep(self) -> None:
        """End connections on which nothing was heard for too long."""
        oldest = self._loop.time() - self._limits.idle_s
        for client in list(self._clients.values()):
            link = client.link
            if (
                link is not None and client.connection.heard < oldest
            ):  # an HTTP client has a shorter patience of its own
                link.dismiss("idle", "idle")
        self._sweeper = self._loop.call_later(self._limits.idle_s / 4, self._sweep)

    def _link(self, number: int) -> ClientLink | None:
        client = self._clients.get(number)
        return None if client is None or client.connection.ended else client.link

    @property
    def connections(self) -> int:
        """How many connections there are, in every stage."""
        return self._admission.connections

    @property
    def unauthenticated(self) -> int:
        return self._admission.unauthenticated

    # -- what the hub does -------------------------------------------------------------------------------------

    def certificate_hash(self, connection: int) -> bytes:
        """Return SHA-256 of the client's certificate, to compare with a token's confirmation; empty if it is gone."""
        client = self._clients.get(connection)
        certificate = client.connection.engine.certificate if client else b""
        return hashlib.sha256(certificate).digest() if certificate else b""

    def address(self, connection: int) -> str:
        """Return the address that a connection came from; empty if it is gone."""
        client = self._clients.get(connection)
        return client.address if client else ""

    def challenged(self, connection: int, challenge: bytes, install: bytes, boot: bytes, now: int) -> None:
        """Pass the authority's challenge on; `now` is the host's BOOTTIME in ms."""
        link = self._link(connection)
        if link is not None and link.stage is Stage.ARRIVED:
            link.step("challenged")
            link.say("challenge", install, boot, challenge, now)
            if self.succession:
                link.say("succession", self.succession)

    def announce_succession(self, chain: bytes) -> None:
        """Tell every client, and those to come, which issuer keys follow which."""
        self.succession = chain
        for client in list(self._clients.values()):
            link = self._link(client.number)
            if link is not None and link.stage is not Stage.ARRIVED:
                link.say("succession", chain)

    def granted(
        self, connection: int, number: int, ciphertext: bytes, signature: bytes, session: bytes = b"", subject: str = ""
    ) -> None:
        """Pass a grant on: the first one opens the way for frames, later ones are pushes."""
        client, link = self._clients.get(connection), self._link(connection)
        if client is None or link is None or link.stage not in (Stage.OPENING, Stage.GRANTED):
            return
        link.step("granted")
        if not client.authenticated and not client.left:
            client.authenticated = True
            client.session, client.subject = session, subject
            self._admission.authenticate(client.key)
            _charge(client)
        link.say("granted", number, ciphertext, signature)

    def refused(self, connection: int, word: str) -> None:
        """Tell a client one generic word why it gets no session, and end its connection."""
        client = self._clients.get(connection)
        if client is not None and client.http is not None:
            client.http.refuse(word)
            return
        link = self._link(connection)
        if link is not None:
            link.refuse(word, "refused_" + word)

    def lent(self, connection: int, content: GrantContent) -> None:
        """Give an HTTP client's connection its session, or a new grant of it."""
        client = self._clients.get(connection)
        if client is None or client.http is None:
            return
        if not client.authenticated and not client.left:
            client.authenticated = True
            client.session, client.subject = content.session, content.subject
            self._admission.authenticate(client.key)
            _charge(client)
        client.http.session.lend(content)

    def send_frame(self, connection: int, frame: bytes) -> None:
        """Send a frame; all frames of one turn leave in one TLS write."""
        client = self._clients.get(connection)
        link = None if client is None else client.http or self._link(connection)
        if client is None or link is None or not client.authenticated:
            return
        link.send(frame)
        if client.connection.waiting > self._limits.connection.waiting_max // 16:
            self._relieve()

    def _relieve(self) -> None:
        """Cut off the client that reads least, if too much waits for all of them together."""
        waiting = {number: client.connection.waiting for number, client in self._clients.items()}
        if sum(waiting.values()) > self._limits.waiting_total:
            self._clients[max(waiting, key=lambda number: waiting[number])].connection.abort("slow_reader")

    def close(self, connection: int, word: str) -> None:
        """End a connection with one word."""
        client = self._clients.get(connection)
        link = None if client is None else client.http or self._link(connection)
        if link is not None:
            link.dismiss(word, "closed_" + word)

    async def drain(self, timeout_s: float, word: str = "draining") -> None:
        """Accept no more, say goodbye to all, and wait until they are gone; cut off who is not after the time."""
        self.stop_listening()
        self._sweeper.cancel()
        for preface in list(self._prefaces):
            preface.end(word)
        for client in list(self._clients.values()):
            if client.link is not None:
                client.link.dismiss(word, word)
            else:
                client.connection.close(word)
        try:
            async with asyncio.timeout(timeout_s):
                while self._clients:
                    await self._empty.wait()
        except TimeoutError:
            for client in list(self._clients.values()):
                client.connection.abort(word)
            while self._clients:
                await self._empty.wait()
        self._wires.close()
