"""Whose calls end, as their holder is gone: connection closed, process ended, right revoked, host locked. Data."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

CLIENTS = "client/"


class Fate(Enum):
    """What becomes of a call."""

    GOES_ON = "goes on"
    ENDS = "ends"  # but with an idempotency key it goes on: the session that follows may ask for its answer
    ENDS_FOR_ALL = "ends for all"  # a repetition is told that its outcome is unknown


class Ending(NamedTuple):
    """The sessions and subjects whose calls end."""

    sessions: Collection[bytes] = ()
    subjects: Collection[str] = ()  # that were blocked
    of_clients: bool = False  # the sessions of all clients have ended
    of_gate: bool = False  # Primary has ended, and no answer to what runs can pass any more
    of_all: bool = False  # the host is locked

    def fate(self, session: bytes, subject: str) -> Fate:
        """Return what becomes of a call that a subject has made in a session."""
        if self.of_all or subject in self.subjects:
            return Fate.ENDS_FOR_ALL
        if self.of_gate or session in self.sessions or (self.of_clients and subject.startswith(CLIENTS)):
            return Fate.ENDS
        return Fate.GOES_ON
