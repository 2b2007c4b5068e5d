"""What a row of the bench is, as data: cases, contenders and the metrics that are compared.

One burst of one contender on one case gives one sample: metric -> value. The first contender is ours; every other
one is a peer, and a ratio is always ours / peer of the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Sample = Mapping[str, float]
Option = int | str


class PeerMissing(Exception):
    """This peer cannot run on this machine; its sentence says why. The row goes on without it."""


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
    """A figure of a sample: its key there, and its title with the unit.

    Rare events are told as their sum over all rounds, since a median would hide them.
    """

    key: str
    title: str
    digits: int = 0
    total: bool = False


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
    silence_s: float = 60.0  # a burst that gives no sample for so long hangs, and ends its row
    goals: tuple[str, ...] = ()
