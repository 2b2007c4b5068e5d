"""What is in a file of SQLite, as the file needs to know it. An interface."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Protocol


class SqliteContent(Protocol):
    """What is in a `SqliteFile`. All of it is called in the thread of the file, `prepare` in each new connection."""

    noun: str  # "store": in sentences
    parts: str  # "values"
    reread: str  # what to do about an unknown outcome

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables, or bring older ones here. Raises sqlite3.Error, ConfigError for a newer format."""
        ...

    def look(self, connection: sqlite3.Connection, is_late: Callable[[], bool], mark: str) -> str:
        """Look for damage until it `is_late`; return what makes all of it useless, or "". `mark`: its name if any."""
        ...

    def revision(self, connection: sqlite3.Connection) -> int:
        """Return the revision of the last change."""
        ...

    def set_revision(self, connection: sqlite3.Connection, revision: int) -> None:
        """Write another one, outside of changes: those that are lost are never given again."""
        ...

    def begin(self, connection: sqlite3.Connection) -> int:
        """A transaction of changes begins; return the revision of the last change."""
        ...

    def finish(self, connection: sqlite3.Connection, revision: int) -> None:
        """Its changes are made: write what belongs to all of them, and the revision of the last."""
        ...

    def is_of_caller(self, error: Exception) -> bool:
        """Tell whether a change ended with this, has changed nothing, and leaves the others as they are."""
        ...

    def undone(self) -> None:
        """The transaction is undone, or the connection lost: what is known of the file may be another."""
        ...

    def unknown(self) -> None:
        """Whether the changes of this transaction are on the disk is not known."""
        ...

    def settled(self) -> None:
        """All that the file has is on the disk."""
        ...

    @property
    def has_unknown(self) -> bool:
        """Whether it knows itself of changes that are not settled."""
        ...

    def troubles(self) -> list[str]:
        """What else is wrong with it, in sentences."""
        ...
