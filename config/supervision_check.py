"""What the part `supervision` of a file may say: its fields, and the sentences about loops that do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlsrt.config.field import NAME, NAME_SAYS, Field, count, defaults_of, seconds
from tlsrt.config.supervision import (
    PRIMARY,
    Escalation,
    GroupConfig,
    RestartConfig,
    Strategy,
    edges_of,
    find_cycle,
)
from tlsrt.config.validation import Checker, nearest

_RESTART = defaults_of(RestartConfig)
_LOOP = Field(kind="text", about="A loop.", pattern=NAME, says=NAME_SAYS)
RESTART = Field(
    kind="table",
    about="How fast dead loops are started again, and when that ends.",
    fields={
        "first_s": seconds("Longest delay of the second restart in a row, seconds.", _RESTART["first_s"], 0.001, 60),
        "cap_s": seconds("Longest delay of any: it doubles until then.", _RESTART["cap_s"], 0.01, 3600),
        "healthy_s": seconds("A loop that was active this long begins anew.", _RESTART["healthy_s"], 0.1, 86400),
        "deaths": count("This many deaths of a group within window_s are too many.", _RESTART["deaths"], 1, 1000),
        "window_s": seconds("See deaths.", _RESTART["window_s"], 1, 86400),
        "escalate": Field(
            kind="text",
            about="What happens then. degraded: the group stays down and the host goes on; exit: the host stops with "
            "exit code 69. Without a word: exit for the group of primary, degraded for others.",
            choices=tuple(map(str, Escalation)),
        ),
    },
)  # fmt: skip
SUPERVISION = Field(
    kind="table",
    about="Who restarts with whom, how often, and in which order.",
    fields={
        "restart": RESTART,
        "groups": Field(
            kind="map",
            about="Loops that are supervised together, by the name of the group.",
            default={},
            most=32,
            pattern=NAME,
            says=NAME_SAYS,
            item=Field(
                kind="table",
                about="A group.",
                fields={
                    "loops": Field(
                        kind="list",
                        about="Its loops, in the order of their start.",
                        required=True,
                        least=1,
                        most=32,
                        item=_LOOP,
                    ),
                    "strategy": Field(
                        kind="text",
                        about="When one dies: one_for_one restarts that one, rest_for_one those after it too, "
                        "one_for_all all of them.",
                        default=str(Strategy.ONE_FOR_ONE),
                        choices=tuple(map(str, Strategy)),
                    ),
                    "restart": RESTART,
                },
            ),
        ),
        "depends": Field(
            kind="map",
            about="Loops, and those that they depend on: started after them, stopped before them, and down while one "
            "of them is given up.",
            default={},
            most=32,
            pattern=NAME,
            says=NAME_SAYS,
            item=Field(kind="list", about="Loops that it depends on.", least=1, most=31, item=_LOOP),
        ),
    },
)

Where = tuple[str, ...]


def check_supervision(tree: Mapping[str, Any], loops: Sequence[str], checker: Checker) -> None:
    """Add a problem for everything that cannot be meant; `tree` is the part, whose values may be missing or BAD."""

    is_bad = False

    def bad(where: Where, sentence: str) -> None:
        nonlocal is_bad
        is_bad = True
        checker.problems.add(*checker.marks[("supervision", *where)], f"supervision: {sentence}")

    named = [*_named(tree)]
    for where, loop, _ in named:
        if loop not in loops:
            bad(where, f"there is no loop {loop}{nearest(loop, loops)}")
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
    both = {**_RESTART, **(common if isinstance(common, dict) else {}), **restart}
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
