"""The part `supervision`: restarts of groups of loops, and their order; values and checks. Pure.

The words are those of Erlang's supervisors: a group has a strategy and a limit on how often its loops may die. A loop
that is in no group is one by itself. `depends` orders loops across groups: a loop that depends on others is started
after them, stopped before them, waits while one of them is given up, and comes back when that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tlsrt.config.processes import is_part, loop_of
from tlsrt.config.setting import (
    NAME,
    NAME_SAYS,
    Builder,
    Where,
    choice,
    count,
    keys_of,
    listing,
    mapping,
    seconds,
    table,
    text,
)
from tlsrt.config.validation import Checker
from tlsrt.text import did_you_mean

PRIMARY = "primary"
_LOOP = text("A loop.", pattern=NAME, says=NAME_SAYS)


class Strategy(StrEnum):
    """Which loops are restarted when one of a group dies."""

    ONE_FOR_ONE = "one_for_one"  # that loop
    REST_FOR_ONE = "rest_for_one"  # and those after it
    ONE_FOR_ALL = "one_for_all"  # and all others


class Escalation(StrEnum):
    """What happens when a group dies too often."""

    DEGRADED = "degraded"  # its loops stay down, and the host goes on
    EXIT = "exit"  # the host stops in order, with exit code 69


@dataclass(frozen=True, slots=True)
class RestartConfig:
    """How fast loops are restarted, and when that ends."""

    first_s: float = field(default=0.05, metadata=seconds("Longest delay of the second restart in a row.", 0.001, 60))
    cap_s: float = field(default=5.0, metadata=seconds("Longest delay of any: it doubles until then.", 0.01, 3600))
    healthy_s: float = field(
        default=10.0, metadata=seconds("Time that a loop is active before its delays begin anew.", 0.1, 86400)
    )
    deaths: int = field(default=10, metadata=count("Deaths of a group within window_s that are too many.", 1, 1000))
    window_s: float = field(default=60.0, metadata=seconds("The time in which deaths are counted.", 1, 86400))
    escalate: Escalation | None = field(
        default=None,
        metadata=choice(
            "What follows then. degraded: the group stays down and the host goes on; exit: the host stops with "
            "exit code 69.",
            Escalation,
            default_says="exit for the group of primary, degraded for others",
        ),
    )


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Loops that are supervised together."""

    name: str
    loops: tuple[str, ...] = field(
        metadata=listing("Its loops, in the order of their start.", _LOOP, 32, least=1, example="[third, forth]")
    )
    strategy: Strategy = field(
        default=Strategy.ONE_FOR_ONE,
        metadata=choice(
            "When one dies: one_for_one restarts that one, rest_for_one those after it too, one_for_all all of them.",
            Strategy,
        ),
    )
    restart: RestartConfig = field(default=RestartConfig(), metadata=table(RestartConfig))

    @property
    def escalation(self) -> Escalation:
        """What follows from too many deaths: without Primary there are no calls, so the host exits."""
        return self.restart.escalate or (Escalation.EXIT if PRIMARY in self.loops else Escalation.DEGRADED)


@dataclass(frozen=True, slots=True)
class SupervisionConfig:
    """Who restarts with whom, how often, and in which order."""

    restart: RestartConfig = field(default=RestartConfig(), metadata=table(RestartConfig))  # of loops in no group
    groups: tuple[GroupConfig, ...] = field(
        default=(),
        metadata=mapping(
            "Loops that are supervised together, by the name of the group.",
            table(GroupConfig, named_by="name"),
            32,
            default={},
            example="{ui: {loops: [third, forth], strategy: rest_for_one}}",
        ),
    )
    depends: Mapping[str, tuple[str, ...]] = field(  # loop: those before it
        default_factory=dict[str, tuple[str, ...]],
        metadata=mapping(
            "Loops, and those that they depend on: started after them, stopped before them, and down while one "
            "of them is given up.",
            listing("Loops that it depends on.", _LOOP, 31, least=1),
            32,
            example="{external: [secondary]}",
        ),
    )

    def group_of(self, loop: str) -> GroupConfig:
        """Return the group that a loop is in; one of its own, if it is in none.

        A further process of a loop always has one of its own, with the delays and limits of its loop's: its deaths
        count against no other process, and end the host only if that is what `restart` says of all.
        """
        found = (group for group in self.groups if loop_of(loop) in group.loops)
        group = next(found, GroupConfig(loop, (loop,), restart=self.restart))
        if not is_part(loop):
            return group
        return GroupConfig(loop, (loop,), restart=replace(group.restart, escalate=self.restart.escalate))


def read_supervision(tree: Mapping[str, Any]) -> SupervisionConfig:
    """Return the values of a checked part; groups inherit what they do not say of restarts."""
    common = tree.get("restart", {})
    groups = {
        name: {**group, "restart": {**common, **group.get("restart", {})}}
        for name, group in tree.get("groups", {}).items()
    }
    made: SupervisionConfig = Builder().make(SupervisionConfig, {**tree, "groups": groups})
    return made


# Order


@dataclass(frozen=True, slots=True)
class Edge:
    """A reason for a loop to start after another one."""

    before: str
    after: str
    why: str


def edges_of(groups: Iterable[GroupConfig], depends: Mapping[str, Sequence[str]]) -> list[Edge]:
    """Return the edges of the start order: dependencies, and groups where the order decides."""
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


def part_edges(processes: Iterable[str]) -> list[Edge]:
    """Return the edges from each loop to its further processes."""
    return [Edge(loop_of(name), name, f"{name} belongs to {loop_of(name)}") for name in processes if is_part(name)]


def start_order(loops: Sequence[str], supervision: SupervisionConfig) -> tuple[str, ...]:
    """Return the loops in the order of a start: Primary first, the others after what they need.

    Where nothing else decides, the order of the file does, as for what cannot be ordered (`find_cycle`).
    """
    edges = [*edges_of(supervision.groups, supervision.depends), *part_edges(loops)]
    waiting = sorted(loops, key=lambda name: loop_of(name) != PRIMARY)  # stable
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
    """Return the loops that depend on one of these, directly or through others."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        more = {after for after, before in depends.items() if name in before} - found
        found |= more
        waiting |= more
    return frozenset(found)


# Checks


def check_supervision(tree: Mapping[str, Any], loops: Sequence[str], checker: Checker) -> None:
    """Add a problem for every contradiction; values of `tree` may be missing or BAD."""

    is_bad = False

    def bad(where: Where, sentence: str) -> None:
        nonlocal is_bad
        is_bad = True
        checker.refuse(("supervision", *where), f"supervision: {sentence}")

    named = [*_named(tree)]
    for where, loop, _ in named:
        if loop not in loops:
            bad(where, f"there is no loop {loop}{did_you_mean(loop, loops)}")
    seen: dict[str, str] = {}
    for where, loop, name in named:
        if name and seen.setdefault(loop, name) != name:
            bad(where, f"{loop} is in group {seen[loop]} already: a loop is in one group at most")
    groups = [*_groups(tree)]
    for group in groups:
        _check_group(group, bad)
    for loop, others in _depends(tree).items():
        if loop == PRIMARY:
            bad(("depends", loop), "primary cannot depend on a loop: every loop reaches the others through it")
        for index, other in enumerate(others):
            where = ("depends", loop, str(index))
            if other == loop:
                bad(where, f"{loop} cannot depend on itself")
            elif other in others[:index]:
                bad(where, f"{other} is here twice")
    for where, restart in _restarts(tree):
        _check_restart(where, restart, tree, bad)
    if is_bad:
        return
    circle = find_cycle(edges_of(groups, _depends(tree)))
    if circle:
        bad((), f"this order cannot be kept: {', and '.join(edge.why for edge in circle)}")


def _check_group(group: GroupConfig, bad: Any) -> None:
    where = ("groups", group.name)
    for index, loop in enumerate(group.loops):
        if loop in group.loops[:index]:
            bad((*where, "loops", str(index)), f"{loop} is here twice")
    if PRIMARY in group.loops[1:]:
        bad((*where, "loops"), "primary starts before every other loop, so it comes first in its group")
    if len(group.loops) == 1 and group.strategy is not Strategy.ONE_FOR_ONE:
        bad(
            (*where, "strategy"),
            f"group {group.name} has one loop, for which {group.strategy} means nothing: leave strategy out, or add "
            "the loops that restart with it",
        )


def _check_restart(where: Where, restart: Mapping[str, Any], tree: Mapping[str, Any], bad: Any) -> None:
    common = tree.get("restart", {}) if len(where) > 1 else {}
    both = {
        **{name: key.default for name, key in keys_of(RestartConfig).items()},
        **(common if isinstance(common, dict) else {}),
        **restart,
    }
    first_s, cap_s = both["first_s"], both["cap_s"]
    if first_s > cap_s:
        bad(where, f"first_s ({first_s:g}) must not be above cap_s ({cap_s:g})")


def _restarts(tree: Mapping[str, Any]) -> Iterator[tuple[Where, Mapping[str, Any]]]:
    if isinstance(tree.get("restart"), dict):
        yield ("restart",), tree["restart"]
    for name, group in _table(tree, "groups").items():
        if isinstance(group, dict) and isinstance(group.get("restart"), dict):
            yield ("groups", name, "restart"), group["restart"]


def _groups(tree: Mapping[str, Any]) -> Iterator[GroupConfig]:
    for name, group in _table(tree, "groups").items():
        if isinstance(group, dict) and isinstance(group.get("loops"), list):
            strategy = group.get("strategy", Strategy.ONE_FOR_ONE)
            loops = tuple(loop for loop in group["loops"] if isinstance(loop, str))
            yield GroupConfig(name, loops, Strategy(strategy))


def _depends(tree: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        loop: [other for other in others if isinstance(other, str)]
        for loop, others in _table(tree, "depends").items()
        if isinstance(others, list)
    }


def _named(tree: Mapping[str, Any]) -> Iterator[tuple[Where, str, str]]:
    """Give every loop that is named, where, and in which group (empty: in none)."""
    for group in _groups(tree):
        for index, loop in enumerate(group.loops):
            yield ("groups", group.name, "loops", str(index)), loop, group.name
    for loop, others in _depends(tree).items():
        yield ("depends", loop), loop, ""
        for index, other in enumerate(others):
            yield ("depends", loop, str(index)), other, ""


def _table(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = tree.get(name)
    return value if isinstance(value, dict) else {}
