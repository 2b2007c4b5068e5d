"""Admission: who finds a place at the door. Pure.

There are four pools, so that none can be used up by those of another:

- strangers, whose handshake is not finished: fair to each network (fair_pool.py);
- enrolments: clients that have no certificate and ask for one, in the same way;
- guests: browsers without a certificate, until one has a session, in the same way;
- clients, whose certificate was verified: a share for each (client_places.py). From then on a connection counts for
  its client and no longer for its address, so that any number of clients get in from behind one address.

How often an address may come is limited too, as each handshake costs processor time. A handshake that ends with a
verified certificate is not counted: it is the certificate that may come so often then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.budget import Spending
from tlsrt.config import door_places
from tlsrt.loops.door.addresses import networks_of
from tlsrt.loops.door.client_places import ClientAnswer, ClientPlaces, Occupant
from tlsrt.loops.door.fair_pool import Answer, FairPool, PoolLimits, Random, Stage
from tlsrt.rate_limit import Buckets

ENROLMENTS_OF_ADDRESS: Final = 4  # that have not asked yet
GUESTS_OF_ADDRESS: Final = 16  # likewise; a browser makes six connections for a page, and some ahead of need
KNOWN_MOST: Final = 4096  # addresses
KNOWN_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Connections of clients, in all and of one; and of strangers, in all and silent ones of an address."""

    connections: int = 1024
    unauthenticated: int = 256
    per_address: int = 16
    rate: float = 50.0  # new connections a second of one address, or one certificate, in the long run
    burst: float = 500.0  # and at once
    per_client: int = 256
    grace_s: float = 2.5  # for a stranger that has sent its first flight, if its own address fills the pool


class Admission:
    """The pools. `random` gives numbers from 0 to below 1; times are of one monotonic clock, in seconds."""

    def __init__(self, limits: AdmissionLimits, random: Random) -> None:
        self.strangers = FairPool(PoolLimits(limits.unauthenticated, limits.per_address, limits.grace_s), random)
        self.enrolments = FairPool(PoolLimits(door_places.ENROLMENTS, ENROLMENTS_OF_ADDRESS, limits.grace_s), random)
        self.guests = FairPool(PoolLimits(door_places.GUESTS, GUESTS_OF_ADDRESS, limits.grace_s), random)
        self.clients = ClientPlaces(limits.connections, limits.per_client, door_places.OPERATORS)
        self._rates = Buckets(limits.burst, limits.rate)
        self._certificate_rates = Spending(limits.burst, limits.rate)
        self._known: BoundedTable[str, None] = BoundedTable(KNOWN_MOST, 1, WhenFull.EVICT)

    @property
    def connections(self) -> int:
        """How many connections have a place, in any pool."""
        return self.unauthenticated + len(self.clients)

    @property
    def unauthenticated(self) -> int:
        """How many of them have not shown a certificate."""
        return len(self.strangers) + len(self.enrolments) + len(self.guests)

    def may_come(self, address: str, now: float, share: int = 1) -> bool:
        """Count a new connection of an address; False if that is too fast. With a `share` of 4 it has a quarter."""
        return self._rates.take(networks_of(address)[-1], now, share)

    def ask(self, address: str, now: float, share: int = 1) -> Answer:
        """Ask for a place for a stranger."""
        return self.strangers.ask(networks_of(address), now, share)

    def add(self, number: int, address: str, now: float) -> int:
        """Give it to this one. Return another that is to be cut early, or 0."""
        early = self.strangers.early(now)
        self.strangers.add(number, networks_of(address), now)
        return early

    def ask_to_stay(self, pool: FairPool, address: str, now: float) -> Answer:
        """Ask for a place for a client without a certificate."""
        return pool.ask(networks_of(address), now)

    def stay(self, pool: FairPool, number: int, address: str, now: float) -> None:
        """Give it to this one, which was a stranger."""
        self.leave(number)
        pool.add(number, networks_of(address), now)

    def has_asked(self, number: int, now: float) -> None:
        """Note that a client without a certificate has said what it wants."""
        for pool in (self.enrolments, self.guests):
            if number in pool:
                pool.step(number, Stage.WHOLE, now)

    def ask_as_client(self, client: str) -> ClientAnswer:
        """Ask for a place for a client whose certificate was verified."""
        return self.clients.ask(client)

    def verify(
        self, number: int, address: str, client: str, occupant: Occupant, now: float, *, certificate: bytes, share: int
    ) -> bool:
        """Give it to this one, which was a stranger. Return False if the certificate comes too often: then end it.

        What is counted is the certificate and not the client: only the authority knows whether it is still good, and
        a thief with one that is not must not use up what the client may. `share` is what `may_come` was asked with.
        """
        self.leave(number)
        self.clients.add(number, client, occupant)
        key = networks_of(address)[-1]
        if key in self._known:
            self._known.touch(key, now + KNOWN_S)
        else:
            self._known.add(key, None, key, now, expires=now + KNOWN_S)
        if not self._certificate_rates.take(hashlib.sha256(certificate).hexdigest(), now):
            return False
        self._rates.give_back(key, share)
        return True

    def has_clients(self, address: str, now: float) -> bool:
        """Tell whether a client has shown its certificate from an address lately."""
        row = self._known.get(networks_of(address)[-1])
        return row is not None and row.expires > now

    def set_operators(self, operators: Collection[str]) -> None:
        """Keep some places for these clients, which may lock or unlock the host."""
        self.clients.set_operators(operators)

    def leave(self, number: int) -> None:
        """Free a place; without effect for a connection that has none."""
        for pool in (self.strangers, self.enrolments, self.guests, self.clients):
            if number in pool:
                pool.remove(number)
                return
