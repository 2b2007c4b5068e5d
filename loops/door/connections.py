"""The connections of a server by number, and the place of each: given, changed and taken away as admission says.

A connection is a stranger first, and then an enrolment or a client. Where a place is to be made, another connection is
cut, or ended with a word if it is a client's. asyncio.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterator
from itertools import count

from tlsrt.errors import PeerError
from tlsrt.loops.door.accepted_connection import AcceptedConnection, ConnectionServer
from tlsrt.loops.door.addresses import address_key
from tlsrt.loops.door.admission import Admission, AdmissionLimits
from tlsrt.loops.door.connection_ends import ConnectionEnds
from tlsrt.loops.door.fair_pool import Answer, FairPool, Stage
from tlsrt.loops.door.service import TlsService
from tlsrt.loops.gate.block_list import SHARE, BlockList


class Connections:
    """The connections. The number of one that is closed is never used again."""

    def __init__(
        self, limits: AdmissionLimits, service: TlsService, ends: ConnectionEnds, numbers: Iterator[int] | None = None
    ) -> None:
        self._service = service
        self._ends = ends
        self._admission = Admission(limits, random.random)
        self._blocks = BlockList()
        self._connected: dict[int, AcceptedConnection] = {}
        self._numbers = numbers or count(1)
        self._loop = asyncio.get_running_loop()
        self._empty = asyncio.Event()
        self._empty.set()

    def __iter__(self) -> Iterator[AcceptedConnection]:
        return iter(list(self._connected.values()))

    @property
    def places(self) -> int:
        """How many have a place, in every stage."""
        return self._admission.connections

    @property
    def unauthenticated(self) -> int:
        """How many of them have not shown a certificate that was verified."""
        return self._admission.unauthenticated

    @property
    def is_busy(self) -> bool:
        """Whether half of the places of strangers are taken."""
        return self._admission.strangers.is_busy

    async def wait_empty(self) -> None:
        """Wait until all sockets are closed."""
        await self._empty.wait()

    def set_operators(self, operators: Collection[str]) -> None:
        """Keep some places for these clients, which may lock or unlock the host."""
        self._admission.set_operators(operators)

    # -- strangers ---------------------------------------------------------------------------------------------

    def add(self, server: ConnectionServer, address: str) -> AcceptedConnection | None:
        """Count a connection and give it a number; None if it is one too many."""
        key = address_key(address)
        now = self._loop.time()
        if self._blocks.is_blocked(key, now):
            self._ends.note(address, "blocked")
            return None
        share = SHARE if self._blocks.is_limited(key, now) else 1
        word = "" if self._admission.may_come(address, now, share) else "too_fast_from_address"
        word = word or self._make_room(self._admission.strangers, lambda: self._admission.ask(address, now, share))
        if word:
            self.note_end(address, 0, word)
            return None
        number = next(self._numbers)
        client = self._connected[number] = AcceptedConnection(server, number, address, now, share)
        self._empty.clear()
        early = self._admission.add(client.number, address, now)
        if early:
            self._cut_stranger(self._admission.strangers, early)
        return client

    def on_handshake_bytes(self, client: AcceptedConnection, *, has_hello: bool) -> None:
        """Note how far a handshake has come."""
        if not client.left:
            stage = Stage.WHOLE if has_hello else Stage.PARTIAL
            self._admission.strangers.step(client.number, stage, self._loop.time())

    def _make_room(self, pool: FairPool, ask: Callable[[], Answer]) -> str:
        """Cut those that are to make room; return the word why there is none all the same, or nothing."""
        while (answer := ask()).cut:
            self._cut_stranger(pool, answer.cut)
        return answer.refused

    def _cut_stranger(self, pool: FairPool, number: int) -> None:
        """Cut a connection; but not for its silence, if what it has sent was only not read yet."""
        client = self._connected[number]
        socket = client.socket
        if pool.is_silent(number) and socket is not None and socket.has_unread():
            pool.step(number, Stage.PARTIAL, self._loop.time())
            return
        client.connection.abort("crowded_out")
        self._leave(client)

    # -- enrolments and clients --------------------------------------------------------------------------------

    def enrol(self, client: AcceptedConnection, *, is_guest: bool = False) -> str:
        """Count a connection as one without a certificate; return the word why there is no room, or nothing."""
        now = self._loop.time()
        pool = self._admission.guests if is_guest else self._admission.enrolments
        word = self._make_room(pool, lambda: self._admission.ask_to_stay(pool, client.address, now))
        if not word and not client.left:
            self._admission.stay(pool, client.number, client.address, now)
        return word

    def on_asked(self, client: AcceptedConnection) -> None:
        """Note that a client without a certificate has said what it wants."""
        if not client.left:
            self._admission.has_asked(client.number, self._loop.time())

    def verify(self, client: AcceptedConnection, account: str) -> None:
        """Count a connection as one of this client, and no longer of its address. PeerError if it has no place."""
        if client.account or client.left:
            return
        while (answer := self._admission.ask_as_client(account)).cut:
            greedy = self._connected[answer.cut]
            self._ends.note_over_places(answer.greedy)
            self._leave(greedy)
            self._service.dismiss(greedy, "busy")
        if answer.refused:
            raise PeerError(answer.refused)
        client.account = account
        if not self._admission.verify(
            client.number, client.address, account, client, self._loop.time(),
            certificate=client.connection.engine.certificate or account.encode(), share=client.share,
        ):  # fmt: skip
            self._ends.note_over_places(account)
            raise PeerError("busy")
        if client.socket is not None:
            client.socket.charge_to(account)

    def authenticate(self, client: AcceptedConnection, subject: str) -> None:
        """Note that a connection has proved to be this subject's, and charge what it sends to that."""
        if client.authenticated or client.left:
            return
        client.authenticated, client.subject = True, subject
        self.verify(client, subject or client.key)
        if client.socket is not None:
            client.socket.charge_to(subject or client.key)

    # -- the end -----------------------------------------------------------------------------------------------

    def block(self, step: str, key: str, for_s: float) -> None:
        """Give an address a quarter of the connections ("limit") or none ("block") for a time. For 0, lift that."""
        until = self._loop.time() + for_s
        if not for_s:
            self._blocks.free(key)
        elif step == "limit":
            self._blocks.limit(key, until)
        else:
            self._blocks.block(key, until)
            for client in self:
                if client.key == key and not client.account:
                    client.connection.abort("blocked")

    def note_end(self, address: str, connection: int, reason: str) -> None:
        """Count why a connection ends: its own fault if it has authenticated, else (0) that of its address."""
        has_clients = self._admission.has_clients(address, self._loop.time())
        self._ends.note_offence(address, connection, reason, has_clients=has_clients)

    def remove(self, client: AcceptedConnection) -> None:
        """Forget a connection, whose socket is closed."""
        del self._connected[client.number]
        self._leave(client)
        if not self._connected:
            self._empty.set()

    def _leave(self, client: AcceptedConnection) -> None:
        """Count a connection no longer; it may have been cut already to make room."""
        if not client.left:
            client.left = True
            self._admission.leave(client.number)
