"""What somebody does in half a second, and who he is: the words in which all traffic here is written. Data."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import exp
from typing import NamedTuple

from tlsrt.supervisor.authority.model.ports import SourceKind

TICK_MS = 500
PER_S = 2  # ticks
PER_MIN = 120

Call = tuple[str, str]  # component, method
Refusal = tuple[str, str]  # the gate's or the door's word, and about what


class Deeds(NamedTuple):
    """Half a second of one session, channel or address."""

    frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    calls: tuple[Call, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    open_calls: int = 0


NOTHING = Deeds()
Script = Iterator[Deeds]  # one for each tick, without end


class Who(StrEnum):
    """How somebody comes to the host."""

    CLIENT = "client"  # over TLS, with a session
    COMPONENT = "component"  # in a loop, with a session
    CHANNEL = "channel"  # a loop that was captured, with frames that prove nothing
    ADDRESS = "address"  # a stranger at the door


CHARGED = {Who.CHANNEL: SourceKind.CHANNEL, Who.ADDRESS: SourceKind.ADDRESS}


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody of a scenario. `label` is the kind of ordinary traffic, or of attack."""

    name: str  # subject, loop or address
    who: Who
    label: str
    script: Callable[[random.Random], Script]
    from_tick: int = 0  # not there before
    until_tick: int = 1 << 40
    is_attack: bool = False


class Chance:
    """Draws that traffic is made of."""

    def __init__(self, random_: random.Random) -> None:
        self.random = random_

    def count(self, mean: float) -> int:
        """Return a number of arrivals (Poisson, or normal where that is the same)."""
        if mean > 30:
            return max(0, round(self.random.gauss(mean, mean**0.5)))
        limit, product, found = exp(-mean), self.random.random(), 0
        while product > limit:
            product *= self.random.random()
            found += 1
        return found

    def size(self, middle: float, spread: float = 0.5) -> int:
        """Return a number of bytes (log-normal)."""
        return max(1, round(self.random.lognormvariate(0, spread) * middle))

    def ticks(self, mean_s: float) -> int:
        """Return how long until the next one (exponential), at least one tick."""
        return max(1, round(self.random.expovariate(1 / mean_s) * PER_S))
