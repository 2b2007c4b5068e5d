"""Profiles: a histogram of levels for each feature, of one subject or of all of a kind. Pure.

A streaming form of the histogram-based outlier score (Goldstein, Dengel: "Histogram-based Outlier Score (HBOS)", KI
2012) with the forgetting of LODA (Pevny: "Loda: Lightweight on-line detector of anomalies", Machine Learning 102,
2016), but along the features themselves, not along random projections: so each says what it adds. The pseudo-counts
of a subject come from its kind (Dirichlet smoothing), so what is new for one but usual for others surprises less.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import log2

from tlsrt.channels.control.learner import FEATURES
from tlsrt.supervisor.learner.features import LEVELS

Levels = Sequence[int | None]

HALF_LIFE = 17_280  # windows in which something happened: a day of them
PRIOR = 8.0  # windows that the kind counts for
_GROWTH = 2.0 ** (1 / HALF_LIFE)
_RESCALE = 1e6
_SIDE = 0.25  # of a window's weight goes to each neighbour: a level is a rounded number


class Histogram:
    """Counts by feature and level, in windows. The newest weighs 1; 4.7 KiB whatever happens."""

    __slots__ = ("_counts", "_weight", "windows")

    def __init__(self) -> None:
        self._counts = array("d", bytes(8 * LEVELS * len(FEATURES)))
        self._weight = 1.0  # of the newest window: it grows, which is cheaper than that all others shrink
        self.windows = 0.0  # how many were learned, those that faded not counted

    def learn(self, levels: Levels, share: float = 1.0) -> None:
        """Take a window for usual; `share`, up to 1, is for one that may not be."""
        self._weight *= _GROWTH
        self.windows = self.windows / _GROWTH + share
        if self._weight > _RESCALE:
            self._counts = array("d", [count / self._weight for count in self._counts])
            self._weight = 1.0
        counts, weight = self._counts, self._weight * share
        at = 0
        for reached in levels:
            if reached is not None:
                here = at + reached
                counts[here] += weight * (1 - 2 * _SIDE)
                counts[here + 1 if reached + 1 < LEVELS else here] += weight * _SIDE
                counts[here - 1 if reached else here] += weight * _SIDE
            at += LEVELS

    def share(self, feature: int, reached: int) -> float:
        """Return how likely a level is, never 0: as if each had been seen once."""
        count = self._counts[feature * LEVELS + reached] / self._weight
        return (count + 1) / (self.windows + LEVELS)

    def usual(self, feature: int) -> int:
        """Return the level that was seen most."""
        counts = self._counts[feature * LEVELS : (feature + 1) * LEVELS]
        return counts.index(max(counts))

    def surprise(self, levels: Levels, kind: Histogram) -> list[float]:
        """Return how much less likely each feature's level is than the usual one below it, in bits.

        It is 0 without knowledge, and for less than usual: who does little does no harm.

        For a level that was never seen it is at most log2(1 + windows / pseudo-counts): it grows with what is known.
        """
        counts, weight, others = self._counts, self._weight, kind._counts
        scale = PRIOR * weight / ((kind.windows + LEVELS) * kind._weight)
        found: list[float] = []
        at = 0
        for reached in levels:
            if reached is None:
                found.append(0.0)
            else:
                here = at + reached
                prior = scale * (others[here] + kind._weight)  # of `kind.share`
                ratio = (max(counts[at : here + 1]) + prior) / (counts[here] + prior)
                found.append(log2(ratio) if ratio > 1 else 0.0)
            at += LEVELS
        return found
