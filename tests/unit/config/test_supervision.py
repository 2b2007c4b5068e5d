"""`supervision` in a configuration: what it means, and a sentence for everything that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.load import parse_config
from tlsrt.config.schema import Config
from tlsrt.config.supervision import (
    Edge,
    Escalation,
    GroupConfig,
    RestartConfig,
    Strategy,
    SupervisionConfig,
    dependents_of,
    edges_of,
    find_cycle,
    start_order,
)
from tlsrt.errors import ConfigError

FILE = """\
version: 1
install: "0123456789abcdef0123456789abcdef"
master_key: {provider: file, path: master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}
loops: {reports: {}}
supervision:
"""
LOOPS = ("primary", "secondary", "third", "forth", "external")


def load(*lines: str) -> Config:
    return parse_config("\n".join([FILE.rstrip(), *(f"  {line}" for line in lines)]).encode(), Path("/t.yaml"))


def problems(*lines: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*lines)
    return [problem.removeprefix("/t.yaml:") for problem in caught.value.problems]


def test_without_a_word_every_loop_is_on_its_own() -> None:
    supervision = parse_config(FILE.removesuffix("supervision:\n").encode(), Path("/t.yaml")).supervision
    assert supervision == SupervisionConfig()
    group = supervision.group_of("third")
    assert (group.loops, group.strategy, group.escalation) == (("third",), Strategy.ONE_FOR_ONE, Escalation.DEGRADED)
    assert supervision.group_of("primary").escalation is Escalation.EXIT


def test_everything_that_can_be_said() -> None:
    supervision = load(
        "restart: {first_s: 0.1, cap_s: 2, deaths: 5, escalate: exit}",
        "groups:",
        "  ui: {loops: [third, forth], strategy: rest_for_one, restart: {deaths: 3, escalate: degraded}}",
        "  net: {loops: [external]}",
        "depends: {external: [third, secondary], reports: [external]}",
    ).supervision
    common = RestartConfig(first_s=0.1, cap_s=2, deaths=5, escalate=Escalation.EXIT)
    ui = RestartConfig(first_s=0.1, cap_s=2, deaths=3, escalate=Escalation.DEGRADED)
    assert supervision.restart == common
    assert supervision.group_of("forth") == GroupConfig("ui", ("third", "forth"), Strategy.REST_FOR_ONE, ui)
    assert supervision.group_of("external") == GroupConfig("net", ("external",), restart=common)
    assert supervision.group_of("secondary").restart == common
    assert supervision.depends == {"external": ("third", "secondary"), "reports": ("external",)}
    assert supervision.group_of("third").escalation is Escalation.DEGRADED
    assert supervision.group_of("secondary").escalation is Escalation.EXIT


TWO = "groups: {a: {loops: [third]}, b: {loops: [third]}}"
CIRCLE = "depends: {third: [forth], forth: [external], external: [third]}"
BEFORE = "groups: {a: {loops: [third, forth], strategy: rest_for_one}}"
ONE = "groups: {a: {loops: [third], strategy: one_for_all}}"
ODD = "groups: {a: {loops: [third], strategy: all}}"
STRATEGIES = "one_for_one or rest_for_one or one_for_all"
OWN = "groups: {a: {loops: [third], restart: {first_s: 2}}}"
WRONG = [
    (["groups: {ui: {loops: [thrid]}}"], "8:25: supervision: there is no loop thrid, did you mean third?"),
    (["depends: {thrid: [secondary]}"], "8:13: supervision: there is no loop thrid, did you mean third?"),
    (["depends: {third: [secodary]}"], "8:21: supervision: there is no loop secodary, did you mean secondary?"),
    ([TWO], "8:45: supervision: third is in group a already: a loop is in one group at most"),
    (["groups: {a: {loops: [third, third]}}"], "8:31: supervision: third is here twice"),
    (
        ["groups: {a: {loops: [third, primary]}}"],
        "8:16: supervision: primary starts before every other loop, so it comes first in its group",
    ),
    (
        [ONE],
        "8:32: supervision: group a has one loop, for which one_for_all means nothing: leave strategy out, or add the "
        "loops that restart with it",
    ),
    (["groups: {a: {loops: []}}"], "8:23: loops must be from 1 to 32 entries, not 0"),
    (
        ["groups: {a: {strategy: rest_for_one}}"],
        "8:15: supervision.groups.a.loops is missing: Its loops, in the order of their start.",
    ),
    ([ODD], f"8:42: strategy must be {STRATEGIES}, not 'all'"),
    (
        ["depends: {primary: [third]}"],
        "8:13: supervision: primary cannot depend on a loop: every loop reaches the others through it",
    ),
    (["depends: {third: [third]}"], "8:21: supervision: third cannot depend on itself"),
    (["depends: {third: [forth, forth]}"], "8:28: supervision: forth is here twice"),
    (["restart: {first_s: 6}"], "8:3: supervision: first_s (6) must not be above cap_s (5)"),
    (["restart: {cap_s: 1}", OWN], "9:32: supervision: first_s (2) must not be above cap_s (1)"),
    (["restart: {escalate: panic}"], "8:23: escalate must be degraded or exit, not 'panic'"),
    (["restart: {deaths: 0}"], "8:21: deaths must be from 1 to 1000, not 0"),
]


@pytest.mark.parametrize(("lines", "sentence"), WRONG)
def test_what_cannot_be_meant_has_its_sentence(lines: list[str], sentence: str) -> None:
    assert problems(*lines) == [sentence]


@pytest.mark.parametrize(
    ("lines", "edges"),
    [
        ([CIRCLE], {"third depends on forth", "forth depends on external", "external depends on third"}),
        ([BEFORE, "depends: {third: [forth]}"], {"third depends on forth", "forth comes after third in group a"}),
    ],
)
def test_an_order_that_nobody_can_keep_is_told_edge_by_edge(lines: list[str], edges: set[str]) -> None:
    (sentence,) = problems(*lines)
    begin, _, circle = sentence.partition("kept: ")
    assert begin == "7:1: supervision: this order cannot be "
    assert {*circle.split(", and ")} == edges


WRONG_KINDS = [["groups: 7"], ["groups: {a: 7}", "depends: [x]"], ["restart: x"], ["groups: {a: {loops: x}}"]]


@pytest.mark.parametrize("lines", WRONG_KINDS)
def test_wrong_kinds_are_said_and_harm_nothing(lines: list[str]) -> None:
    assert all("must be" in problem for problem in problems(*lines))


def test_the_order_of_a_start() -> None:
    assert start_order(LOOPS, SupervisionConfig()) == LOOPS
    after = SupervisionConfig(depends={"secondary": ("external",)})
    assert start_order(LOOPS, after) == ("primary", "third", "forth", "external", "secondary")
    group = GroupConfig("g", ("external", "third"), Strategy.REST_FOR_ONE)
    assert start_order(LOOPS, SupervisionConfig(groups=(group,))) == (
        "primary", "secondary", "forth", "external", "third",
    )  # fmt: skip


NAMES = [f"l{number}" for number in range(6)]
DEPENDS = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(tuple)
)
GROUPS = st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True).map(
    lambda loops: (GroupConfig("g", tuple(loops), Strategy.REST_FOR_ONE),)
)


@given(DEPENDS, GROUPS | st.just(()))
def test_either_there_is_a_circle_or_an_order(
    depends: dict[str, tuple[str, ...]], groups: tuple[GroupConfig, ...]
) -> None:
    supervision = SupervisionConfig(groups=groups, depends=depends)
    edges = edges_of(groups, depends)
    order = start_order(NAMES, supervision)
    assert sorted(order) == sorted(NAMES)
    circle = find_cycle(edges)
    kept = all(order.index(edge.before) < order.index(edge.after) for edge in edges)
    assert kept is (circle == [])
    if circle:
        assert {*circle} <= {*edges}
        following = [*circle[1:], circle[0]]
        assert all(one.after == other.before for one, other in zip(circle, following, strict=True))


def test_a_circle_of_one() -> None:
    assert find_cycle([Edge("a", "a", "")]) == [Edge("a", "a", "")]


@given(DEPENDS, st.sets(st.sampled_from(NAMES)))
def test_dependents_are_closed_and_exact(depends: dict[str, tuple[str, ...]], names: set[str]) -> None:
    found = dependents_of(names, depends)
    assert found == {after for after, before in depends.items() if {*before} & (found | names)}
