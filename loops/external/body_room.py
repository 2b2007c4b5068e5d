"""The memory that all bodies on their way in have together, by who sends them. Pure.

It is charged as bytes come, and not by what a head promises: so a promise costs no one room. Where it is full, the
oldest connection of who holds most is ended, so who floods displaces himself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable


class BodyRoom:
    """At most `most` bytes, of connections that are known by any key; each belongs to a subject."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Hashable, tuple[str, int]] = {}  # in the order in which they began
        self._of: Counter[str] = Counter()

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._of.total()

    def hold(self, key: Hashable, subject: str, size: int) -> list[Hashable]:
        """Have a connection hold so many bytes in all; return those that have to end for it, maybe itself."""
        self._of[subject] += size - self._held.get(key, ("", 0))[1]
        self._held[key] = (subject, size)
        ended: list[Hashable] = []
        while self._of.total() > self._most:
            [(greedy, _)] = self._of.most_common(1)
            oldest = next(one for one, (of, bytes_held) in self._held.items() if of == greedy and bytes_held)
            self.let_go(oldest)
            ended.append(oldest)
        return ended

    def let_go(self, key: Hashable) -> None:
        """Forget a connection, which may be forgotten already."""
        subject, size = self._held.pop(key, ("", 0))
        self._of[subject] -= size
        if self._of[subject] <= 0:
            del self._of[subject]
