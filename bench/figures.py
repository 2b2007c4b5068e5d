"""Figures from samples: medians, spread, ratios of the same round. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.row import Sample

Round = dict[str, Sample]  # contender -> its sample


@dataclass(slots=True)
class Outcome:
    """What one row gave: case -> its rounds. `problem` says what ended it early."""

    rounds: dict[str, list[Round]] = field(default_factory=dict[str, list[Round]])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    problem: str = ""

    def add(self, case: str, number: int, contender: str, sample: Sample) -> None:
        rounds = self.rounds.setdefault(case, [])
        while len(rounds) <= number:
            rounds.append({})
        rounds[number][contender] = sample


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a part of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def figure(values: Sequence[float]) -> Figure | None:
    """Return median and quartiles, or None of nothing."""
    if not values:
        return None
    if len(values) == 1:
        return Figure(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Figure(median, low, high)


def values(rounds: Sequence[Round], contender: str, metric: str) -> list[float]:
    return [one[contender][metric] for one in rounds if metric in one.get(contender, {})]


def ratios(rounds: Sequence[Round], ours: str, peer: str, metric: str) -> list[float]:
    """Return ours / peer of every round in which both took part."""
    return [
        one[ours][metric] / one[peer][metric]
        for one in rounds
        if metric in one.get(ours, {}) and one.get(peer, {}).get(metric)
    ]


def percentile(ordered: Sequence[float], part: float) -> float:
    """Return the value below which this part of an ordered sequence lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
