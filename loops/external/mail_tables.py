"""What mail keeps: how far the folder is taken in, and the ids by which answers find their way. Functions of SQL."""

from __future__ import annotations

from typing import Any, NamedTuple

from tlsrt import Transaction

KEPT = 10_000  # mails each way of which answers are recognised
LATER = 1000  # mails that wait in the folder for who they are for
STEPS = (
    """
    CREATE TABLE folder (
        one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL, uidvalidity INTEGER NOT NULL, uid INTEGER NOT NULL,
        unseen_below INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE later (uid INTEGER PRIMARY KEY, person TEXT NOT NULL) STRICT;
    CREATE TABLE received (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, person TEXT NOT NULL,
        message_id TEXT NOT NULL, trail TEXT NOT NULL, subject TEXT NOT NULL
    ) STRICT;
    CREATE TABLE sent (
        number INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL UNIQUE, id TEXT NOT NULL,
        sender TEXT NOT NULL, person TEXT NOT NULL, is_taken INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    """,
)


class Place(NamedTuple):
    """How far a folder is taken in: the last UID, and below which one what is seen is left out."""

    uid: int
    unseen_below: int


class Thread(NamedTuple):
    """A mail that came, as one that answers it names it."""

    message_id: str
    trail: str
    subject: str


def begin(transaction: Transaction, name: str, uidvalidity: int, uidnext: int) -> Place:
    """Return how far a folder is taken in. With another UIDVALIDITY its UIDs mean other mails: what is unseen."""
    rows = transaction.read("SELECT * FROM folder")
    if rows and (rows[0]["name"], rows[0]["uidvalidity"]) == (name, uidvalidity):
        return Place(rows[0]["uid"], rows[0]["unseen_below"])
    transaction.execute("DELETE FROM later")
    transaction.execute("INSERT OR REPLACE INTO folder VALUES (1, ?, ?, 0, ?)", name, uidvalidity, uidnext)
    return Place(0, uidnext)


def go_on(transaction: Transaction, uid: int, done: list[int], later: dict[int, str]) -> None:
    """Note that mail is taken in up to `uid`, but for those that wait."""
    transaction.execute("UPDATE folder SET uid = max(uid, ?)", uid)
    for one in done:
        transaction.execute("DELETE FROM later WHERE uid = ?", one)
    for one, person in later.items():
        transaction.execute("INSERT OR REPLACE INTO later VALUES (?, ?)", one, person)


def waiting(transaction: Transaction) -> dict[int, str]:
    """Return the mails that wait in the folder, with the person that each is of."""
    return {row["uid"]: row["person"] for row in transaction.read("SELECT * FROM later ORDER BY uid")}


def is_received(transaction: Transaction, id: str) -> bool:
    """Tell whether a mail has come before."""
    return bool(transaction.read("SELECT 1 FROM received WHERE id = ?", id))


def receive(transaction: Transaction, id: str, person: str, thread: Thread) -> None:
    """Keep what an answer to a mail needs."""
    transaction.execute(
        "INSERT OR IGNORE INTO received (id, person, message_id, trail, subject) VALUES (?, ?, ?, ?, ?)",
        id, person, *thread,
    )  # fmt: skip
    transaction.execute("DELETE FROM received WHERE number <= (SELECT max(number) FROM received) - ?", KEPT)


def thread_of(transaction: Transaction, id: str, person: str) -> Thread | None:
    """Return the mail of a person that came as the message `id`."""
    rows = transaction.read("SELECT message_id, trail, subject FROM received WHERE id = ? AND person = ?", id, person)
    return Thread(*rows[0]) if rows else None


def send(transaction: Transaction, message_id: str, message: dict[str, Any], person: str) -> bool:
    """Keep where an answer to a mail belongs; return whether the server has taken that mail already."""
    transaction.execute(
        "INSERT OR IGNORE INTO sent (message_id, id, sender, person) VALUES (?, ?, ?, ?)",
        message_id, message["id"], message["from"], person,
    )  # fmt: skip
    transaction.execute("DELETE FROM sent WHERE number <= (SELECT max(number) FROM sent) - ?", KEPT)
    return bool(transaction.read("SELECT 1 FROM sent WHERE message_id = ? AND is_taken", message_id))


def is_taken(transaction: Transaction, message_id: str) -> None:
    """Note that the server has a mail."""
    transaction.execute("UPDATE sent SET is_taken = 1 WHERE message_id = ?", message_id)


def is_own(transaction: Transaction, message_id: str) -> bool:
    """Tell whether a mail went out from here."""
    return bool(transaction.read("SELECT 1 FROM sent WHERE message_id = ?", message_id))


def answered(transaction: Transaction, message_ids: list[str], person: str) -> tuple[str, str] | None:
    """Return sender and id of the message whose mail to a person one of theirs answers; the first that is known."""
    for one in message_ids:
        rows = transaction.read("SELECT sender, id FROM sent WHERE message_id = ? AND person = ?", one, person)
        if rows:
            return rows[0]["sender"], rows[0]["id"]
    return None
