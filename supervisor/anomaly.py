"""Anomaly scores: points for what a loop does wrong, which fade with a half-life of a minute. Pure; times in ms."""

from __future__ import annotations

HALF_LIFE_MS = 60_000
LIMIT = 100.0  # from here on it is an anomaly
OFFENCE_POINTS = 25  # for a loop that broke the trust protocol


def faded(score: float, elapsed_ms: float) -> float:
    """Return what is left of a score after some time."""
    return float(score * 0.5 ** (max(0.0, elapsed_ms) / HALF_LIFE_MS))


class AnomalyScores:
    """The score of each loop, over all its incarnations: a new process does not make the old one's deeds undone."""

    def __init__(self) -> None:
        self._scores: dict[str, tuple[float, int]] = {}

    def charge(self, loop: str, points: int, now: int) -> tuple[float, bool]:
        """Add points; return the score, and whether it has just risen over the limit."""
        before = self.score(loop, now)
        after = before + points
        self._scores[loop] = (after, now)
        return after, before < LIMIT <= after

    def score(self, loop: str, now: int) -> float:
        """Return the present score of a loop."""
        score, at = self._scores.get(loop, (0.0, now))
        return faded(score, now - at)
