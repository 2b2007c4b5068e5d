"""What external/xmpp keeps on the disk: what was sent and taken, what has come, and its place in the archive."""

from __future__ import annotations

from dataclasses import dataclass

from tlsrt import Transaction

DAY_MS = 86_400_000
KEPT_MS = 30 * DAY_MS  # so long an answer finds what it answers, and a repetition is known
ROWS = 50_000  # of each table, the newest
STEPS = (
    """
    CREATE TABLE outgoing (
        wire TEXT PRIMARY KEY, person TEXT NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL, tries INTEGER NOT NULL,
        taken_ms INTEGER NOT NULL, is_done INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX outgoing_by_age ON outgoing (taken_ms);
    CREATE TABLE heard (
        key TEXT PRIMARY KEY, is_loose INTEGER NOT NULL, heard_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX heard_by_age ON heard (heard_ms);
    CREATE TABLE incoming (
        id TEXT PRIMARY KEY, person TEXT NOT NULL, device TEXT NOT NULL, peer_id TEXT NOT NULL,
        heard_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX incoming_by_age ON incoming (heard_ms);
    CREATE TABLE archive (
        only INTEGER PRIMARY KEY CHECK (only = 1), account TEXT NOT NULL, position TEXT NOT NULL, stamp TEXT NOT NULL
    ) STRICT;
    """,
)


Answerable = tuple[str, str, str, str]  # id here, person, device, the peer's id


@dataclass(frozen=True)
class Sent:
    """A message that the server has taken `tries` times, the last time at `taken_ms`; `is_done` if no more is to do."""

    tries: int
    taken_ms: int
    is_done: bool


@dataclass(frozen=True)
class Place:
    """What was read of the archive: up to this archive id, and its time there as it was told."""

    position: str
    stamp: str


def sent(transaction: Transaction, wire: str) -> Sent | None:
    """Return what is known of an outgoing message."""
    rows = transaction.execute("SELECT tries, taken_ms, is_done FROM outgoing WHERE wire = ?", wire).rows
    return Sent(rows[0]["tries"], rows[0]["taken_ms"], bool(rows[0]["is_done"])) if rows else None


def keep_taken(transaction: Transaction, wire: str, person: str, id: str, sender: str, now_ms: int) -> None:
    """Note that the server has taken a message, once more."""
    transaction.execute(
        "INSERT INTO outgoing VALUES (?, ?, ?, ?, 1, ?, 0) "
        "ON CONFLICT (wire) DO UPDATE SET tries = tries + 1, taken_ms = excluded.taken_ms",
        wire, person, id, sender, now_ms,
    )  # fmt: skip


def keep_done(transaction: Transaction, wire: str) -> None:
    """Note that nothing more is to do for a message."""
    transaction.execute("UPDATE outgoing SET is_done = 1 WHERE wire = ?", wire)


def keep_received(transaction: Transaction, wire: str, person: str, now_ms: int) -> None:
    """Note that an app of a person has a message; also if a kill came before it was noted as sent."""
    transaction.execute(
        "INSERT INTO outgoing VALUES (?, ?, '', '', 0, ?, 1) "
        "ON CONFLICT (wire) DO UPDATE SET is_done = 1 WHERE person = excluded.person",
        wire, person, now_ms,
    )  # fmt: skip


def answered(transaction: Transaction, wire: str, person: str) -> tuple[str, str] | None:
    """Return id and sender of the message to a person that has a wire id."""
    rows = transaction.execute(
        "SELECT id, sender FROM outgoing WHERE wire = ? AND person = ? AND id != ''", wire, person
    ).rows
    return (rows[0]["id"], rows[0]["sender"]) if rows else None


def is_heard(transaction: Transaction, archive_key: str, said_key: str) -> bool:
    """Tell whether a message has come already: by its archive id, or one of both without such an id."""
    found = {
        row["key"]: bool(row["is_loose"])
        for row in transaction.execute("SELECT * FROM heard WHERE key IN (?, ?)", archive_key, said_key).rows
    }
    if archive_key:  # what is said twice is two messages, but for one that came without its archive id
        return archive_key in found or found.get(said_key, False)
    return said_key in found


def keep_heard(
    transaction: Transaction, archive_key: str, said_key: str, place: Place | None, account: str, now_ms: int,
    answerable: Answerable | None = None,
) -> None:  # fmt: skip
    """Note that a message was dealt with, how far the archive was read, and what an answer to it refers to."""
    if archive_key:
        transaction.execute("INSERT OR REPLACE INTO heard VALUES (?, 0, ?)", archive_key, now_ms)
    if said_key:
        transaction.execute("INSERT OR REPLACE INTO heard VALUES (?, ?, ?)", said_key, int(not archive_key), now_ms)
    if answerable is not None:
        transaction.execute("INSERT OR REPLACE INTO incoming VALUES (?, ?, ?, ?, ?)", *answerable, now_ms)
    if place is not None:
        transaction.execute("INSERT OR REPLACE INTO archive VALUES (1, ?, ?, ?)", account, place.position, place.stamp)


def incoming(transaction: Transaction, id: str) -> tuple[str, str, str] | None:
    """Return person, device and peer's id of a message that was handed in under an id."""
    rows = transaction.execute("SELECT * FROM incoming WHERE id = ?", id).rows
    return (rows[0]["person"], rows[0]["device"], rows[0]["peer_id"]) if rows else None


def place(transaction: Transaction, account: str) -> Place | None:
    """Return how far the archive of an account was read; None if never."""
    rows = transaction.execute("SELECT * FROM archive WHERE account = ?", account).rows
    return Place(rows[0]["position"], rows[0]["stamp"]) if rows else None


def prune(transaction: Transaction, now_ms: int) -> None:
    """Remove what is old, and the oldest of too much."""
    for table, column in (("outgoing", "taken_ms"), ("heard", "heard_ms"), ("incoming", "heard_ms")):
        transaction.execute(f"DELETE FROM {table} WHERE {column} < ?", now_ms - KEPT_MS)  # noqa: S608  # constants
        transaction.execute(
            f"DELETE FROM {table} WHERE {column} < "  # noqa: S608
            f"(SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET ?)", ROWS,
        )  # fmt: skip
