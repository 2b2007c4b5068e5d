"""One name and one kind of address: when to ask, and how long what was heard is true. Pure; times in seconds.

An address is asked for again when its time to live is over, and stays valid some time longer, as who looked the name up
just before still connects to it. A name server that is away or broken takes no address away for a day (RFC 8767); one
that says that there is none does, after the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

LEAST_S, MOST_S = 5.0, 3600.0  # between two questions, whatever the time to live is: 0, or a week
LINGER_S = 300.0
STALE_S = 86400.0
ABSENT_S = 60.0  # until a name that is not there, or has no address of this kind, is asked for again
RETRY_S, RETRY_MOST_S = 1.0, 60.0
MOST_ADDRESSES = 64


@dataclass(slots=True)
class NameLookup:
    """What is known, by when it ends; and when to ask next."""

    next_at: float = 0.0
    is_asking: bool = False
    is_settled: bool = False  # there was an answer, or none could be had
    failed: int = 0  # times in a row
    said: str = ""  # how the last question ended, if not with addresses
    _until: dict[bytes, float] = field(default_factory=dict[bytes, float])
    _heard_at: float = 0.0
    _ended_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether to ask."""
        return not self.is_asking and self.next_at <= now

    def ask(self) -> None:
        """Note that a question is on its way: one of the three below ends it."""
        self.is_asking = True

    def hurry(self, now: float) -> None:
        """Ask again soon, but no more often than ever."""
        self.next_at = min(self.next_at, max(now, self._ended_at + LEAST_S))

    def found(self, addresses: Iterable[bytes], ttl_s: float, now: float) -> None:
        """Take an answer."""
        known = dict.fromkeys(addresses)
        life_s = min(max(ttl_s, LEAST_S), MOST_S)
        self._end(now, life_s if known else ABSENT_S, "" if known else "no such address")
        self._heard_at = now if known else self._heard_at
        self._until.update(dict.fromkeys(known, now + life_s + LINGER_S))
        if len(self._until) > MOST_ADDRESSES:
            newest = sorted(self._until, key=lambda one: self._until[one], reverse=True)[:MOST_ADDRESSES]
            self._until = {one: self._until[one] for one in newest}
        self.failed = 0

    def absent(self, now: float) -> None:
        """Take the answer that there is no such name."""
        self._end(now, ABSENT_S, "no such name")
        self.failed = 0

    def fail(self, reason: str, now: float) -> None:
        """Note that no server could tell: what was heard before stays true for a day."""
        delay_s = min(RETRY_S * 2**self.failed, RETRY_MOST_S) if self.failed < 16 else RETRY_MOST_S
        self._end(now, delay_s, reason)
        self.failed += 1
        if now < self._heard_at + STALE_S:
            still = [one for one, until in self._until.items() if until > now]
            self._until.update({one: max(self._until[one], now + delay_s + LINGER_S) for one in still})

    def _end(self, now: float, delay_s: float, said: str) -> None:
        self.is_asking, self.is_settled, self.said = False, True, said
        self._ended_at, self.next_at = now, now + delay_s

    def addresses(self, now: float) -> list[bytes]:
        """Return those that are valid, and forget the others."""
        self._until = {one: until for one, until in self._until.items() if until > now}
        return sorted(self._until)
