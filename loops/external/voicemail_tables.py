"""Recordings on the disk until they are in every mailbox: functions of SQL. Times are wall ms, samples of 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tlsrt import Transaction

STEPS = (
    """
    CREATE TABLE recordings (
        number INTEGER PRIMARY KEY, call TEXT NOT NULL UNIQUE, by_whom TEXT NOT NULL, says TEXT NOT NULL,
        rung TEXT NOT NULL, began_ms INTEGER NOT NULL, loud_s REAL NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE parts (
        number INTEGER PRIMARY KEY, recording INTEGER NOT NULL REFERENCES recordings, samples BLOB NOT NULL
    ) STRICT;
    CREATE INDEX parts_of ON parts (recording);
    """,
)


@dataclass(frozen=True)
class About:
    """Of which call a recording is; `says` is what who rings says of itself, and is not checked."""

    call: str
    by: str
    says: str
    number: str
    began_ms: int


class Kept(NamedTuple):
    """A recording, and how long something was to be heard in it, seconds."""

    number: int
    about: About
    loud_s: float
    bytes: int


def begin(transaction: Transaction, about: About) -> int:
    """Keep a recording that begins; return its number."""
    transaction.execute(
        "INSERT INTO recordings (call, by_whom, says, rung, began_ms) VALUES (?, ?, ?, ?, ?)",
        about.call, about.by, about.says, about.number, about.began_ms,
    )  # fmt: skip
    [row] = transaction.read("SELECT number FROM recordings WHERE call = ?", about.call)
    return int(row["number"])


def add(transaction: Transaction, number: int, samples: bytes, loud_s: float) -> None:
    """Keep the next part of one, and how long something was to be heard so far."""
    transaction.execute("INSERT INTO parts (recording, samples) VALUES (?, ?)", number, samples)
    transaction.execute("UPDATE recordings SET loud_s = ? WHERE number = ?", loud_s, number)


def kept(transaction: Transaction) -> list[Kept]:
    """Return all recordings, the oldest first."""
    rows = transaction.read(
        "SELECT recordings.*, coalesce(sum(length(samples)), 0) AS size FROM recordings LEFT JOIN parts "
        "ON recording = recordings.number GROUP BY recordings.number ORDER BY recordings.number"
    )
    return [
        Kept(
            row["number"], About(row["call"], row["by_whom"], row["says"], row["rung"], row["began_ms"]),
            row["loud_s"], row["size"],
        )
        for row in rows
    ]  # fmt: skip


def samples_of(transaction: Transaction, number: int) -> bytes:
    """Return all that one has."""
    rows = transaction.read("SELECT samples FROM parts WHERE recording = ? ORDER BY number", number)
    return b"".join(row["samples"] for row in rows)


def forget(transaction: Transaction, number: int) -> None:
    """Forget one."""
    transaction.execute("DELETE FROM parts WHERE recording = ?", number)
    transaction.execute("DELETE FROM recordings WHERE number = ?", number)
