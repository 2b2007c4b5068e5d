"""Figures from samples: medians, spread, ratios of the same round, goals. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.row import Goal, Row, Sample

Round = dict[str, Sample]  # contender -> its sample


@dataclass(slots=True)
class Outcome:
    """What one row gave: case -> its rounds. `problem` says what ended it early.

    `skipped` tells why a contender did not take part, or not to the end; `absent`, why it cannot do a case; `failed`,
    in which case it failed, and how.
    """

    rounds: dict[str, list[Round]] = field(default_factory=dict[str, list[Round]])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    absent: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    failed: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
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


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal with the ratio that was measured for it, or our figure if it has no peer; None where there is none."""

    goal: Goal
    text: str
    ratio: Figure | None
    met: bool | None


def judge(row: Row, goal: Goal, outcome: Outcome) -> Judged:
    """Compare a goal with what was measured. It is told, never asserted."""
    metric = row.metric(goal.metric)
    ours = row.contenders[0].name
    rounds = outcome.rounds.get(goal.case, [])
    ratio = figure(
        ratios(rounds, ours, goal.peer, goal.metric) if goal.peer else values(rounds, ours, goal.metric)
    )  # fmt: skip
    bound = f"{goal.bound:g}x {goal.peer}" if goal.peer else f"{goal.bound:g}"
    text = f"{goal.case}: {metric.title} {'at least' if metric.more else 'at most'} {bound}"
    if ratio is None:
        return Judged(goal, text, None, None)
    return Judged(goal, text, ratio, ratio.median >= goal.bound if metric.more else ratio.median <= goal.bound)
