"""Budgets: what one subject may take of what all of them share. Pure.

A subject is a client, a component or an address. What it may hold at once is a share of a bounded table (see
bounded_table.py); what it may use a second is a rate, here. Both are named by a word of `Budget`: who is over it is
refused in words that say "again later", and the authority makes of the word the event `over_budget`, with the name of
the subject. A budget is no rule that was broken, so no points come of it.
"""

from __future__ import annotations

import enum
from typing import Final

from tlsrt.errors import Busy
from tlsrt.rate_limit import Buckets

SUBJECTS_MAX: Final = 4096
PREFIX: Final = "over_"


class Budget(enum.StrEnum):
    """What there is a budget of. The values are the words of reports."""

    PROCESSOR = "over_processor"  # seconds a second, of decoding bodies and running handlers at one process
    SESSIONS = "over_sessions"  # of one client, at once
    OPENINGS = "over_openings"  # of sessions by one client, a second
    REMEMBERED = "over_remembered"  # sessions that a recipient keeps in mind
    PLACES = "over_places"  # connections at the door
    STREAMS = "over_streams"  # open at one recipient
    CALLS = "over_calls"  # open at the gate or at one recipient
    DISK = "over_disk"  # requests that wait for a disk


BUDGETS: Final = {
    Budget.PROCESSOR: "processor time of a loop",
    Budget.SESSIONS: "sessions at once",
    Budget.OPENINGS: "new sessions a second",
    Budget.REMEMBERED: "sessions that a component remembers",
    Budget.PLACES: "connections at the door",
    Budget.STREAMS: "open streams",
    Budget.CALLS: "open calls",
    Budget.DISK: "requests that wait for a disk",
}


class OverBudget(Busy):
    """A caller holds its share already. What answers it with this error also reports that it is over that budget."""

    def __init__(self, message: str, budget: Budget) -> None:
        super().__init__(message)
        self.budget = budget


def budget_of(word: str) -> Budget | None:
    """Return the budget that a word of a report names; None if it is another word."""
    return Budget(word) if word in BUDGETS else None


class Spending:
    """What each subject has used of a rate: `per_s` a second, and `burst` at once, of openings, bytes or seconds.

    Use is told afterwards, as no work knows its price before it is done; so a subject may owe, up to one burst more,
    and is over its budget until that has come in again.
    """

    def __init__(self, burst: float, per_s: float, *, subjects_max: int = SUBJECTS_MAX) -> None:
        self._buckets = Buckets(burst, per_s, debt=burst, keys_max=subjects_max)

    def spend(self, subject: str, now: float, amount: float) -> float:
        """Note what was used. Return for how many seconds the subject is over its budget now, 0 if it is not."""
        return self._buckets.owe(subject, now, amount)

    def take(self, subject: str, now: float, amount: float = 1.0) -> bool:
        """Use some of it if it is there; False, and nothing used, if not."""
        return self._buckets.take(subject, now, amount)

    def over_for(self, subject: str, now: float) -> float:
        """Return for how many seconds the subject is over its budget, 0 if it is not. Makes no room for it."""
        return self._buckets.owed(subject, now)
