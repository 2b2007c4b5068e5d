"""Places for clients whose certificate was verified: a share for each, and some kept for operators. Pure.

A client that is at its share loses one of its own connections to its newcomer. When all places are taken, the client
that holds most loses one, if it has two more than the newcomer's. Lost is the one that is idle for longest, and one
without a session before all that have one. So a client alone can use up its own places only, and clients that may lock
or unlock the host find a place although every other client held one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

from tlsrt.bounded_table import BoundedTable, Row, WhenFull


class Occupant(Protocol):
    """A connection, as far as its place is concerned."""

    @property
    def authenticated(self) -> bool:
        """Whether it has a session."""

    @property
    def heard(self) -> float:
        """When bytes came last."""


class ClientAnswer(NamedTuple):
    """A place is free; unless there is a word of refusal, or a connection of a greedy client to end first."""

    refused: str = ""
    cut: int = 0
    greedy: str = ""  # the client that has used up its share


class ClientPlaces:
    """The places: `most` for all, and `kept` ones that only operators may take, before others."""

    def __init__(self, most: int, share: int, kept: int) -> None:
        self._share = min(share, most)
        self._common: BoundedTable[int, Occupant] = BoundedTable(most, self._share, WhenFull.REFUSE)
        self._kept: BoundedTable[int, Occupant] = BoundedTable(kept, kept, WhenFull.REFUSE)
        self._operators: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._common) + len(self._kept)

    def __contains__(self, number: int) -> bool:
        return number in self._common or number in self._kept

    def set_operators(self, operators: Collection[str]) -> None:
        """Keep the places for these clients from now on."""
        self._operators = frozenset(operators)

    def ask(self, client: str) -> ClientAnswer:
        """Ask for a place for one more connection of a client."""
        tables = (self._kept, self._common)
        if sum(table.count_of(client) for table in tables) >= self._share:
            return ClientAnswer(cut=_idlest(client, *tables), greedy=client)
        if client in self._operators:
            if len(self._kept) < self._kept.most:
                return ClientAnswer()
            greediest = self._kept.greediest(at_least=self._kept.count_of(client) + 2)
            if greediest:
                return ClientAnswer(cut=_idlest(greediest, self._kept), greedy=greediest)
        if len(self._common) < self._common.most:
            return ClientAnswer()
        own = self._common.count_of(client)
        greediest = self._common.greediest(at_least=own + 2) or (client if own else "")
        if greediest:
            return ClientAnswer(cut=_idlest(greediest, self._common), greedy=greediest)
        return ClientAnswer("too_many_connections")

    def add(self, number: int, client: str, occupant: Occupant) -> None:
        """Give a connection its place."""
        is_kept = client in self._operators and len(self._kept) < self._kept.most
        (self._kept if is_kept else self._common).add(number, occupant, client)

    def remove(self, number: int) -> None:
        """Free a place."""
        if self._kept.remove(number) is None:
            self._common.remove(number)


def _idlest(client: str, *tables: BoundedTable[int, Occupant]) -> int:
    def use(row: Row[int, Occupant]) -> tuple[bool, float]:
        return row.value.authenticated, row.value.heard

    return min((row for table in tables for row in table.rows_of(client)), key=use).key
