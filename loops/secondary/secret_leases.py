"""Leases of the secrets service, and who has read what: rows of its database. Times are wall ms, as arguments.

A lease says until when a reader may count on a version. It takes nothing from who has read the value. A reader has one
lease of a version: to read it again makes that one longer. Reads are kept up to a bound, the latest of them.

All of it runs in the database's thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tlsrt import Failed, NotFound, Transaction
from tlsrt.loops.secondary.secret_schema import LEASES_MOST, LEASES_SHARE, NO_LEASE, SLACK, Lease

_COLUMNS = "lease, reader, namespace, name, version, since_ms, ends_ms"


def grant(
    transaction: Transaction, lease: str, reader: str, name: tuple[str, str], version: int, now_ms: int, ends_ms: int
) -> Lease:
    """Give a reader a lease, or make the one longer that it has. Raises Failed for too many."""
    held = _of(transaction, "reader = ? AND namespace = ? AND name = ? AND version = ?", reader, *name, version)
    if held:
        transaction.execute("UPDATE leases SET ends_ms = ? WHERE lease = ?", ends_ms, held[0].lease)
        return Lease(held[0].lease, reader, *name, version, held[0].since_ms, ends_ms)
    (total,) = transaction.read("SELECT count(*) FROM leases")[0]
    (own,) = transaction.read("SELECT count(*) FROM leases WHERE reader = ?", reader)[0]
    if own >= LEASES_SHARE or total >= LEASES_MOST:
        held_by = f"{reader} holds {own} leases" if own >= LEASES_SHARE else f"there are {total} leases"
        raise Failed(f"{held_by}, and no more fit: revoke some, or wait until they end")
    made = Lease(lease, reader, *name, version, now_ms, ends_ms)
    row = (lease, reader, *name, version, now_ms, ends_ms)
    transaction.execute(f"INSERT INTO leases ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", *row)  # noqa: S608
    return made


def end(transaction: Transaction, name: tuple[str, str], versions: Iterable[int]) -> tuple[Lease, ...]:
    """End all leases of some versions; return them."""
    found: list[Lease] = []
    for version in versions:
        found += _remove(transaction, "namespace = ? AND name = ? AND version = ?", *name, version)
    return tuple(found)


def shorten(transaction: Transaction, name: tuple[str, str], version: int, ends_ms: int) -> tuple[Lease, ...]:
    """Have the leases of a version end by this time at the latest; return all of them, as they are now."""
    where = "namespace = ? AND name = ? AND version = ?"
    transaction.execute(f"UPDATE leases SET ends_ms = min(ends_ms, ?) WHERE {where}", ends_ms, *name, version)  # noqa: S608
    return _of(transaction, where, *name, version)


def end_late(transaction: Transaction, now_ms: int, limit: int) -> tuple[Lease, ...]:
    """End up to so many leases whose time is over."""
    where = "lease IN (SELECT lease FROM leases WHERE ends_ms <= ? ORDER BY ends_ms LIMIT ?)"
    return _remove(transaction, where, now_ms, limit)


def revoke(transaction: Transaction, lease: str) -> Lease:
    """End one lease. Raises NotFound."""
    return _remove(transaction, "lease = ?", find(transaction, lease).lease)[0]


def find(transaction: Transaction, lease: str) -> Lease:
    """Return one lease. Raises NotFound."""
    found = _of(transaction, "lease = ?", lease)
    if not found:
        raise NotFound(NO_LEASE)
    return found[0]


def held(
    transaction: Transaction, namespace: str, reader: str | None, name: str | None, after: str, limit: int
) -> tuple[Lease, ...]:
    """Return the leases of a namespace, of one reader or all, of one name or all, by their ids."""
    return _of(
        transaction,
        "namespace = ? AND reader = coalesce(?, reader) AND name = coalesce(?, name) AND lease > ? "
        "ORDER BY lease LIMIT ?",
        namespace, reader, name, after, limit,
    )  # fmt: skip


def note_read(
    transaction: Transaction, name: tuple[str, str], version: int, reader: str, now_ms: int, most: int
) -> None:
    """Keep that a reader has read a version, and forget the oldest reads beyond a bound."""
    number = transaction.execute(
        "INSERT INTO reads (namespace, name, version, reader, at_ms) VALUES (?, ?, ?, ?, ?)",
        *name, version, reader, now_ms,
    ).last_id  # fmt: skip
    if number % SLACK == 0:
        transaction.execute("DELETE FROM reads WHERE number <= ?", number - most)


def reads(transaction: Transaction, name: tuple[str, str], limit: int) -> list[dict[str, Any]]:
    """Return who has read a secret, the latest first."""
    query = "SELECT reader, version, at_ms FROM reads WHERE namespace = ? AND name = ? ORDER BY number DESC LIMIT ?"
    return [
        {"reader": row["reader"], "version": row["version"], "at": row["at_ms"] / 1000}
        for row in transaction.read(query, *name, limit)
    ]


def next_end(transaction: Transaction) -> int | None:
    """Return when the next lease ends, None if there is none."""
    found: int | None = transaction.read("SELECT min(ends_ms) FROM leases")[0][0]
    return found


def _of(transaction: Transaction, where: str, *values: object) -> tuple[Lease, ...]:
    return tuple(Lease(*row) for row in transaction.read(f"SELECT {_COLUMNS} FROM leases WHERE {where}", *values))  # noqa: S608


def _remove(transaction: Transaction, where: str, *values: object) -> tuple[Lease, ...]:
    done = transaction.execute(f"DELETE FROM leases WHERE {where} RETURNING {_COLUMNS}", *values)  # noqa: S608
    return tuple(Lease(*row) for row in done.rows)
