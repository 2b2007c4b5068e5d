"""Rules of power: hysteresis, dwell, what is not known, and any sequence of samples. Pure."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.forth.policy_rules import (
    Action,
    Rule,
    RuleState,
    Sample,
    Wanted,
    once,
    step,
    wanted,
)

SAVER = Rule(on_battery=True, below=30, for_s=10, dwell_s=60, then=("profile power-saver", "pause secondary/ai"))


def walk(rule: Rule, *samples: tuple[float, Sample], overrides: dict[str, bool] | None = None) -> list[bool]:
    states: dict[str, RuleState] = {}
    found = []
    for at, sample in samples:
        states, _ = step({"r": rule}, states, sample, at, overrides or {})
        found.append(states["r"].is_active)
    return found


def on(percent: float | None, on_battery: bool | None = True) -> Sample:
    return Sample(on_battery, percent)


def test_it_waits_for_its_time_and_keeps_its_dwell() -> None:
    assert walk(SAVER, (0, on(29)), (9, on(29)), (10, on(29)), (20, on(90)), (69, on(90)), (70, on(90))) == [
        False, False, True, True, True, False
    ]  # fmt: skip


def test_a_gap_begins_the_time_anew() -> None:
    assert walk(SAVER, (0, on(29)), (5, on(31)), (6, on(29)), (15, on(29)), (16, on(29))) == [False] * 4 + [True]


def test_within_the_hysteresis_it_stays() -> None:
    assert walk(SAVER, (0, on(29)), (10, on(29)), (100, on(32)), (200, on(33))) == [False, True, True, False]


def test_what_is_not_known_changes_nothing() -> None:
    assert walk(SAVER, (0, on(29)), (10, on(29)), (100, on(None)), (200, on(29, None))) == [False, True, True, True]
    assert walk(SAVER, (0, on(None)), (100, on(None))) == [False, False]


@pytest.mark.parametrize(
    ("rule", "sample", "is_active"),
    [
        ({"on_mains": True}, Sample(on_battery=False), True),
        ({"on_mains": True}, Sample(on_battery=True), False),
        ({"above": 80}, Sample(percent=81), True),
        ({"temperature_above": 70}, Sample(celsius=71), True),
        ({"temperature_above": 70}, Sample(celsius=70), False),
        ({"ups_low": True}, Sample(ups_low=True), True),
        ({"ups_low": True}, Sample(), False),
        ({"ups_low": True, "on_battery": True}, Sample(ups_low=True, on_battery=False), False),
    ],
)
def test_each_condition(rule: dict[str, Any], sample: Sample, is_active: bool) -> None:
    assert walk(Rule(then=("notify",), **rule), (0, sample)) == [is_active]


def test_an_override_is_stronger_and_needs_no_time() -> None:
    assert walk(SAVER, (0, on(90)), overrides={"r": True}) == [True]
    assert walk(SAVER, (0, on(5)), (100, on(5)), overrides={"r": False}) == [False, False]


def test_the_first_rule_has_the_profile_and_pauses_add_up() -> None:
    rules = {
        "a": Rule(on_battery=True, then=("profile balanced", "pause third/a")),
        "b": Rule(on_battery=True, then=("pause third/b", "profile power-saver")),
    }
    states, changes = step(rules, {}, Sample(on_battery=True), 0)
    assert wanted(rules, states) == Wanted("balanced", frozenset({"third/a", "third/b"}))
    assert once(rules, changes) == []


def test_the_machine_ends_last() -> None:
    rules = {
        "a": Rule(ups_low=True, then=("power_off", "notify", "set light 10")),
        "b": Rule(ups_low=True, then=("notify",)),
    }
    _, changes = step(rules, {}, Sample(ups_low=True), 0)
    assert [str(action) for _, action in once(rules, changes)] == ["notify", "set light 10", "notify", "power_off"]


@pytest.mark.parametrize(
    "action", ["", "explode", "profile fast", "pause ai", "pause ../x", "set light", "set light -1", "set light 1 2",
               "suspend now"]
)  # fmt: skip
def test_another_action_is_refused_with_what_there_is(action: str) -> None:
    with pytest.raises(ValueError, match="there are: profile"):
        Rule(on_battery=True, then=(action,))


def test_a_rule_without_a_condition_or_with_a_late_suspend_is_refused() -> None:
    with pytest.raises(ValueError, match="write a condition"):
        Rule(then=("notify",))
    with pytest.raises(ValueError, match="only notify and set"):
        Rule(on_battery=True, then=("notify",), after=("suspend",))


@pytest.mark.parametrize("text", ["profile power-saver", "pause secondary/ai", "set light 10", "notify", "power_off"])
def test_an_action_is_read_as_it_is_written(text: str) -> None:
    assert str(Action.read(text)) == text


values = st.none() | st.floats(0, 100)
flags = st.none() | st.booleans()
moments = st.lists(
    st.tuples(st.floats(0.01, 100), st.builds(Sample, flags, values, values, flags)),
    min_size=1, max_size=60,
)  # fmt: skip
rules_of_any_kind = st.builds(
    lambda below, warm, for_s, slack, dwell: Rule(
        below=below, temperature_above=warm, on_battery=True, for_s=for_s, hysteresis=slack, dwell_s=dwell,
        then=("notify",),
    ),
    values, values, st.floats(0, 50), st.floats(0, 20), st.floats(1, 100),
)  # fmt: skip


@given(rules_of_any_kind, moments)
def test_however_samples_flap_it_changes_once_in_its_dwell_and_never_on_what_is_not_known(
    rule: Rule, steps: list[tuple[float, Sample]]
) -> None:
    states: dict[str, RuleState] = {}
    now, changed_at = 0.0, -math.inf
    held: float | None = None
    for seconds, sample in steps:
        now += seconds
        before = states.get("r", RuleState())
        holds = rule.holds(sample, is_active=before.is_active)
        held = None if not holds else now if held is None else held
        states, changes = step({"r": rule}, states, sample, now)
        if changes:
            assert now - changed_at >= rule.dwell_s
            assert holds is not None
            assert holds is changes[0].is_active
            assert not changes[0].is_active or now - (held if held is not None else now) >= rule.for_s
            changed_at = now
        assert step({"r": rule}, states, sample, now)[1] == [], "the same moment again changes nothing"
