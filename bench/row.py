"""What a row of the bench is, as data: cases, contenders, the metrics that are compared, and the goals.

One burst of one contender on one case gives one sample: metric -> value. The first contender is ours; every other
one is a peer, and a ratio is always ours / peer of the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

Sample = Mapping[str, float]
Option = int | str


class PeerMissing(Exception):
    """This peer cannot run on this machine; its sentence says why. The row goes on without it."""


class CaseMissing(Exception):
    """This peer cannot do this case; its sentence says why. It takes part in the others."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a row: what the contenders do in it."""

    name: str
    options: Mapping[str, Option] = field(default_factory=dict[str, Option])

    def number(self, option: str) -> int:
        return int(self.options[option])

    def word(self, option: str) -> str:
        return str(self.options[option])


class Subject(Protocol):
    """A contender that is up and waits for bursts."""

    def burst(self, case: Case, seconds: float) -> Sample:
        """Work for about so many seconds (or once, where a case is a single event) and return the figures."""
        ...


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who takes part; `open` gets an empty folder of its own and keeps the subject up meanwhile."""

    name: str
    open: Callable[[Path], AbstractContextManager[Subject]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a sample: its key there, its title with the unit, and whether more of it is better.

    Rare events are told as their sum over all rounds, since a median would hide them.
    """

    key: str
    title: str
    digits: int = 0
    total: bool = False
    more: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the ratio ours / peer of a metric in one case: at least so much where more is better, else at most.

    Without a `peer` it is a bound on our own figure, in the metric's unit.
    """

    case: str
    metric: str
    peer: str
    bound: float


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. Goals are told beside the ratios and never asserted: this machine is not yours."""

    name: str
    about: str
    cases: tuple[Case, ...]
    contenders: tuple[Contender, ...]
    metrics: tuple[Metric, ...]
    burst_s: float = 0.4
    smoke_burst_s: float = 0.1
    smoke_cases: tuple[str, ...] = ()  # all of them, unless named
    smoke_contenders: tuple[str, ...] = ()  # likewise; the first one stands for us
    rounds_max: int = 1000  # for rows whose bursts are long
    silence_s: float = 60.0  # a burst that gives no sample for so long hangs, and ends its row
    load: int = 0  # busy loops beside it, besides those that were asked for
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()  # the metrics of the short table; the first and the CPU, unless named

    def metric(self, key: str) -> Metric:
        return next(metric for metric in self.metrics if metric.key == key)

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics of the short table."""
        keys = [metric.key for metric in self.metrics]
        return self.headline or (keys[0], *(key for key in keys[1:] if key in ("cpu_us", "cpu_ns")))

    def shortened(self) -> Row:
        """Return the row as a smoke run does it; one short round judges nothing, so there are no goals."""
        cases = tuple(case for case in self.cases if not self.smoke_cases or case.name in self.smoke_cases)
        contenders = tuple(one for one in self.contenders if one.name in (self.smoke_contenders or (one.name,)))
        return replace(self, cases=cases, contenders=contenders, goals=(), burst_s=self.smoke_burst_s)
