"""Who restarts with whom, how often, in which order: the part `supervision` of a configuration, as frozen values. Pure.

The words are those of Erlang's supervisors: a group has a strategy and a limit on how often its loops may die. A loop
that is in no group is one by itself. `depends` orders loops across groups: whoever depends on a loop is started after
it, stopped before it, waits while it is given up, and comes back when it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

PRIMARY = "primary"


class Strategy(StrEnum):
    """Who is restarted when a loop of a group dies."""

    ONE_FOR_ONE = "one_for_one"  # that loop
    REST_FOR_ONE = "rest_for_one"  # and those after it
    ONE_FOR_ALL = "one_for_all"  # and all others


class Escalation(StrEnum):
    """What happens when a group dies too often."""

    DEGRADED = "degraded"  # its loops stay down, and the host goes on
    EXIT = "exit"  # the host stops in order, with exit code 69


@dataclass(frozen=True, slots=True)
class RestartConfig:
    """How fast dead loops are started again, and when that ends; all times in seconds."""

    first_s: float = 0.05  # the longest delay before the second restart in a row; the first one comes at once
    cap_s: float = 5.0  # and of any restart: the longest delay doubles until then
    healthy_s: float = 10.0  # one that was active this long begins anew
    deaths: int = 10  # this many deaths of a group ...
    window_s: float = 60.0  # ... within this time are too many
    escalate: Escalation | None = None  # None: exit for the group of Primary, degraded for others


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Loops that are supervised together, in the order in which they start."""

    name: str
    loops: tuple[str, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    restart: RestartConfig = RestartConfig()

    @property
    def escalation(self) -> Escalation:
        """Without Primary nobody can call anybody, so a host that cannot keep it running does not look as if it ran."""
        return self.restart.escalate or (Escalation.EXIT if PRIMARY in self.loops else Escalation.DEGRADED)


@dataclass(frozen=True, slots=True)
class SupervisionConfig:
    """The whole of it."""

    restart: RestartConfig = RestartConfig()  # of loops that are in no group
    groups: tuple[GroupConfig, ...] = ()
    depends: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])  # loop: those before it

    def group_of(self, loop: str) -> GroupConfig:
        """Return the group that a loop is in; one of its own, if it is in none."""
        found = (group for group in self.groups if loop in group.loops)
        return next(found, GroupConfig(loop, (loop,), restart=self.restart))


def read_supervision(tree: Mapping[str, Any]) -> SupervisionConfig:
    """Return the values of a part that was checked."""
    common = tree.get("restart", {})
    groups = tuple(
        GroupConfig(
            name,
            tuple(group["loops"]),
            Strategy(group.get("strategy", Strategy.ONE_FOR_ONE)),
            _restart({**common, **group.get("restart", {})}),
        )
        for name, group in tree.get("groups", {}).items()
    )
    depends = {loop: tuple(before) for loop, before in tree.get("depends", {}).items()}
    return SupervisionConfig(_restart(common), groups, depends)


def _restart(tree: Mapping[str, Any]) -> RestartConfig:
    escalate = tree.get("escalate")
    settings = {**tree, "escalate": Escalation(escalate) if escalate is not None else None}
    return RestartConfig(**settings)


# Order


@dataclass(frozen=True, slots=True)
class Edge:
    """A reason for a loop to start after another one."""

    before: str
    after: str
    why: str


def edges_of(groups: Iterable[GroupConfig], depends: Mapping[str, Sequence[str]]) -> list[Edge]:
    """Return what the order of a start must keep: dependencies, and the order in groups where it decides."""
    found = [
        Edge(before, after, f"{after} depends on {before}") for after, named in depends.items() for before in named
    ]
    for group in groups:
        if group.strategy is not Strategy.ONE_FOR_ONE:
            found += [
                Edge(before, after, f"{after} comes after {before} in group {group.name}")
                for before, after in zip(group.loops, group.loops[1:], strict=False)
            ]
    return found


def start_order(loops: Sequence[str], supervision: SupervisionConfig) -> tuple[str, ...]:
    """Return the loops in the order of a start: Primary first, the others as in the file where nothing else counts.

    What cannot be ordered (`find_cycle`) stays as it stands in the file.
    """
    edges = edges_of(supervision.groups, supervision.depends)
    waiting = sorted(loops, key=lambda name: name != PRIMARY)  # stable
    placed: list[str] = []
    while waiting:
        free = (name for name in waiting if not any(edge.after == name and edge.before in waiting for edge in edges))
        chosen = next(free, waiting[0])
        waiting.remove(chosen)
        placed.append(chosen)
    return tuple(placed)


def find_cycle(edges: Sequence[Edge]) -> list[Edge]:
    """Return the edges of a circle, each beginning where the last one ended, or an empty list."""
    following: dict[str, list[Edge]] = {}
    for edge in edges:
        following.setdefault(edge.before, []).append(edge)
    done: set[str] = set()
    for start in following:
        if circle := _circle_from(start, following, done, []):
            return circle
    return []


def _circle_from(name: str, following: Mapping[str, list[Edge]], done: set[str], path: list[Edge]) -> list[Edge]:
    if name in done:
        return []
    for edge in following.get(name, ()):
        names = [one.before for one in path]
        if edge.after == name:
            return [edge]
        if edge.after in names:
            return [*path[names.index(edge.after) :], edge]
        if circle := _circle_from(edge.after, following, done, [*path, edge]):
            return circle
    done.add(name)
    return []


def dependents_of(names: Iterable[str], depends: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return who depends on one of these, directly or through others."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        more = {after for after, before in depends.items() if name in before} - found
        found |= more
        waiting |= more
    return frozenset(found)
