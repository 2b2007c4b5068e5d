"""A pool of places for peers that have not proved who they are: fair to each network, full or not. Pure.

Theory of operation. A pool has so many places, and a newcomer gets one whatever those that hold them do: when the pool
is full, one of them is cut. Which one follows from how far each has come (its stage), and where it comes from:

1. One that has sent nothing, before one that has sent a part of its first flight, before one that has sent all of it.
   An honest client sends its first flight at once, so it is hardly ever in the first two.
2. Of these, one of the network that holds most: by IPv6 /48, within it by /56, within that by /64; by IPv4 address. The
   newcomer counts as one more of its own networks, so who floods the pool displaces himself.
3. Of these, the oldest if it is silent; else one at random of the older half. Where each of many addresses holds one
   place only, no rule tells the attacker's from others: chance lets an honest one through, as it needs its place for
   a moment and the attacker's stay. (OpenSSH's MaxStartups drops at random for the same reason.)

Only one newcomer is refused: one whose own address holds most of a pool in which all have sent their first flight, and
none of its own has taken long since. They are being served, so to cut one of them for it would help no one.

Before it is full, from `start` places on, a silent one is cut now and then, the likelier the fuller it is: so a burst
finds room. An address may have no more than `silent` silent ones, full or not, but for a moment: a client that makes
many connections at once may take a while to send the first flight of each.

Cost. All is done in constant time, but for the choice at random: it walks over half of the networks that hold most.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

LATE_S = 0.5  # silent for so long, one may be cut before the pool is full: its first flight is late already
EARLY_RATE = 0.3  # how likely that is at the start; it grows to 1

Path = tuple[str, ...]  # networks, the widest first
Random = Callable[[], float]  # in [0, 1)
T = TypeVar("T")


class Stage(enum.IntEnum):
    """How far a connection has come. It never goes back."""

    SILENT = 0  # nothing was received
    PARTIAL = 1  # a part of its first flight
    WHOLE = 2  # its first flight


class Answer(NamedTuple):
    """A place is free; unless there is a word of refusal, or a connection to cut before asking again."""

    refused: str = ""
    cut: int = 0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Places in all, from where on silent ones are cut early, and silent ones of one address."""

    most: int
    silent: int
    grace_s: float  # a connection of the newcomer's own address is cut for it after so long

    @property
    def start(self) -> int:
        return (self.most + 1) // 2


@dataclass(slots=True)
class _Place:
    path: Path
    stage: Stage
    since: float


class _Network:
    """The connections of one stage in a network: by the networks inside it, or at the end of a path by number."""

    __slots__ = ("count", "inside", "members", "ranks", "top")

    def __init__(self) -> None:
        self.count = 0
        self.members: dict[int, None] = {}  # the oldest first
        self.inside: dict[str, _Network] = {}
        self.ranks: dict[int, dict[str, None]] = {}  # the names of those inside by their count, the longest there first
        self.top = 0  # the highest count

    def add(self, path: Path, number: int) -> None:
        self.count += 1
        if not path:
            self.members[number] = None
            return
        inside = self.inside.get(path[0])
        if inside is None:
            inside = self.inside[path[0]] = _Network()
        inside.add(path[1:], number)
        self._rank(path[0], inside.count - 1, inside.count)

    def remove(self, path: Path, number: int) -> None:
        self.count -= 1
        if not path:
            del self.members[number]
            return
        inside = self.inside[path[0]]
        inside.remove(path[1:], number)
        self._rank(path[0], inside.count + 1, inside.count)
        if not inside.count:
            del self.inside[path[0]]

    def _rank(self, name: str, before: int, count: int) -> None:
        if before:
            del self.ranks[before][name]
        if count:
            self.ranks.setdefault(count, {})[name] = None
        if before and not self.ranks[before]:
            del self.ranks[before]
        if count > self.top or self.top not in self.ranks:
            self.top = count

    def find(self, path: Path) -> _Network | None:
        """Return what is at the end of a path."""
        found: _Network | None = self
        for name in path:
            found = found.inside.get(name) if found is not None else None
        return found


class FairPool:
    """The pool. Each number that was added is removed once; `random` gives numbers from 0 to below 1."""

    def __init__(self, limits: PoolLimits, random: Random) -> None:
        self._limits = limits
        self._random = random
        self._places: dict[int, _Place] = {}
        self._stages = tuple(_Network() for _ in Stage)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, number: int) -> bool:
        return number in self._places

    @property
    def is_busy(self) -> bool:
        """Whether silent ones are cut early."""
        return len(self._places) >= self._limits.start

    def is_silent(self, number: int) -> bool:
        """Tell whether nothing was received on a connection."""
        return self._places[number].stage is Stage.SILENT

    def ask(self, path: Path, now: float, share: int = 1) -> Answer:
        """Ask for a place for a newcomer from these networks; with a `share` of 4 it may have a quarter of the silent.

        A connection that is to be cut may have sent something in the meantime: then `step` it, and ask again.
        """
        silent = self._stages[Stage.SILENT]
        own = silent.find(path)
        if own is not None and own.count >= max(1, self._limits.silent // share):
            oldest = next(iter(own.members))
            if self._is_late(oldest, now):
                return Answer(cut=oldest)
        if len(self._places) < self._limits.most:
            return Answer()
        for stage, network in zip(Stage, self._stages, strict=True):
            if not network.count:
                continue
            number, is_own = self._greediest(network, path, is_oldest=stage is Stage.SILENT)
            if stage is Stage.WHOLE and is_own:
                number = next(iter(network.find(path).members))  # type: ignore[union-attr]  # it was just found
                if self._places[number].since > now - self._limits.grace_s:
                    return Answer("too_many_from_address")
            return Answer(cut=number)
        return Answer("too_many_unauthenticated")  # a pool without places

    def add(self, number: int, path: Path, now: float) -> None:
        """Give a newcomer its place."""
        self._places[number] = _Place(path, Stage.SILENT, now)
        self._stages[Stage.SILENT].add(path, number)

    def step(self, number: int, stage: Stage, now: float) -> None:
        """Note how far a connection has come."""
        place = self._places[number]
        if stage > place.stage:
            self._stages[place.stage].remove(place.path, number)
            place.stage, place.since = stage, now
            self._stages[stage].add(place.path, number)

    def remove(self, number: int) -> None:
        """Free a place."""
        place = self._places.pop(number)
        self._stages[place.stage].remove(place.path, number)

    def early(self, now: float) -> int:
        """Return a silent connection to cut although the pool is not full yet, or 0."""
        silent = self._stages[Stage.SILENT]
        beyond = len(self._places) - self._limits.start
        if beyond < 0 or not silent.count:
            return 0
        rate = EARLY_RATE + (1 - EARLY_RATE) * beyond / max(1, self._limits.most - self._limits.start)
        if self._random() >= rate:
            return 0
        number, _ = self._greediest(silent, (), is_oldest=True)
        return number if self._is_late(number, now) else 0

    def _is_late(self, number: int, now: float) -> bool:
        return self._places[number].since <= now - LATE_S

    def _greediest(self, network: _Network, path: Path, *, is_oldest: bool) -> tuple[int, bool]:
        """Return a connection of the network that holds most, and whether that is the newcomer's own address."""
        is_own = bool(path)
        while network.inside:
            own = network.inside.get(path[0]) if is_own else None
            if own is not None and own.count + 1 > network.top:
                name = path[0]
            else:
                name = self._pick(network.ranks[network.top], is_oldest=is_oldest)
                is_own = is_own and name == path[0]
            network, path = network.inside[name], path[1:]
        return self._pick(network.members, is_oldest=is_oldest), is_own

    def _pick(self, among: Mapping[T, None], *, is_oldest: bool) -> T:
        at = 0 if is_oldest else int(self._random() * ((len(among) + 1) // 2))
        return next(islice(among, at, None))
