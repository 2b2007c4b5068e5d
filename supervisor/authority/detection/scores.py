"""Scores: points per source, which fade with a half-life of a minute. Pure, bounded; times in ms.

A flood of new names (an attacker with many addresses) pushes out the lowest scores first, so that no high one is lost
by it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from tlsrt.supervisor.messages.score import faded

SCORES_MAX = 4096
FORGOTTEN = 0.5  # points: less is none

Who = TypeVar("Who", bound=Hashable)


class Scores(Generic[Who]):
    """The scores of all sources. Of a loop over all its incarnations, so a new process does not reset them."""

    def __init__(self, most: int = SCORES_MAX) -> None:
        self._most = most
        self._scores: dict[Who, tuple[float, int]] = {}

    def add(self, who: Who, points: float, now: int) -> tuple[float, float]:
        """Add points; return the score before and after."""
        before = self.of(who, now)
        if who not in self._scores and len(self._scores) >= self._most:
            self._make_room(now)
        after = before + points
        self._scores[who] = (after, now)
        return before, after

    def of(self, who: Who, now: int) -> float:
        """Return a present score."""
        score, at = self._scores.get(who, (0.0, now))
        return faded(score, now - at)

    def set(self, who: Who, score: float, now: int) -> None:
        """Replace a score; with 0 it is forgotten."""
        if score > 0:
            self._scores[who] = (score, now)
        else:
            self._scores.pop(who, None)

    def all(self, now: int) -> Iterator[tuple[Who, float]]:
        """Yield every source with a score that counts."""
        for who in list(self._scores):
            score = self.of(who, now)
            if score >= FORGOTTEN:
                yield who, score

    def __len__(self) -> int:
        return len(self._scores)

    def _make_room(self, now: int) -> None:
        """Forget sources without points, and of the others the lowest quarter: so it is rarely done."""
        ranked = sorted(self._scores, key=lambda who: self.of(who, now))
        low = max(1, self._most // 4)
        for index, who in enumerate(ranked):
            if index < low or self.of(who, now) < FORGOTTEN:
                del self._scores[who]
