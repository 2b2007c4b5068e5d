"""Connections that the door ended, counted by reason, for the host's events. Pure and bounded."""

from __future__ import annotations

REASONS = 8  # between two beats; of others nobody is told but the log
WORD_MAX = 64


class ClosedConnections:
    """Counts between two beats."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[str, int]] = {}

    def note(self, address: str, word: str) -> None:
        """Note one connection; `word` is why."""
        word = word[:WORD_MAX]
        _, count = self._counts.get(word, ("", 0))
        if count or len(self._counts) < REASONS:
            self._counts[word] = (address[:WORD_MAX], count + 1)

    def take(self) -> list[tuple[str, str, int]]:
        """Return (the last address, why, how often) for each reason since the last call."""
        found = [(address, word, count) for word, (address, count) in self._counts.items()]
        self._counts.clear()
        return found
