"""Tables of the configuration service: documents with all their kept revisions. Runs in the database's thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlsrt import Conflict, NotFound, Transaction

STEPS = [
    """
    CREATE TABLE revisions (document TEXT NOT NULL, revision INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        author TEXT NOT NULL, operation TEXT NOT NULL, comment TEXT NOT NULL, given TEXT NOT NULL,
        PRIMARY KEY (document, revision)) STRICT;
    """
]


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a document: who made it, when (wall ms), by what, and the values that are set in it."""

    number: int
    at_ms: int | None = None
    author: str | None = None
    operation: str | None = None
    comment: str = ""
    given: Mapping[str, Any] | None = None

    def told(self) -> dict[str, Any]:
        """Return what `history` says of it."""
        return {
            "revision": self.number, "at_wall_ms": self.at_ms, "author": self.author, "operation": self.operation,
            "comment": self.comment,
        }  # fmt: skip

    @property
    def values(self) -> dict[str, Any]:
        """The values that are set."""
        return dict(self.given or {})


def present(transaction: Transaction, document: str) -> Revision:
    """Return the last revision; number 0 with nothing set before the first."""
    rows = transaction.read("SELECT * FROM revisions WHERE document = ? ORDER BY revision DESC LIMIT 1", document)
    return _revision(rows[0]) if rows else Revision(0)


def find(transaction: Transaction, document: str, number: int) -> Revision:
    """Return a revision that is kept; 0 is that with nothing set. Raises NotFound."""
    if number == 0:
        return Revision(0)
    rows = transaction.read("SELECT * FROM revisions WHERE document = ? AND revision = ?", document, number)
    if not rows:
        raise NotFound(f"revision {number} of {document} is not kept; `history` lists those that are")
    return _revision(rows[0])


def history(transaction: Transaction, document: str, before: int | None, limit: int) -> list[Revision]:
    """Return revisions, the latest first."""
    rows = transaction.read(
        "SELECT * FROM revisions WHERE document = ? AND revision < ? ORDER BY revision DESC LIMIT ?",
        document, (1 << 62) if before is None else before, limit,
    )  # fmt: skip
    return [_revision(row) for row in rows]


def expect(now: Revision, if_revision: int | None, document: str) -> None:
    """Raise Conflict if the present revision is not the one that was expected."""
    if if_revision is not None and now.number != if_revision:
        raise Conflict(f"{document} has revision {now.number} and not {if_revision}: read it again, then decide")


def add(transaction: Transaction, document: str, new: Revision, kept: int) -> None:
    """Write the next revision, and forget those beyond what is kept."""
    transaction.execute(
        "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?)",
        document, new.number, new.at_ms, new.author, new.operation, new.comment, json.dumps(new.values),
    )  # fmt: skip
    transaction.execute("DELETE FROM revisions WHERE document = ? AND revision <= ?", document, new.number - kept)


def _revision(row: Any) -> Revision:
    return Revision(
        row["revision"], row["at_ms"], row["author"], row["operation"], row["comment"], json.loads(row["given"])
    )
