"""The restart policy over simulated loops: whatever dies whenever, everything comes back as it should."""

from __future__ import annotations

import random

import pytest
from fakes.simulated_loops import LOOPS, SimulatedLoops
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlsrt.channels.control.life import LoopState
from tlsrt.config.supervision import (
    Escalation,
    GroupConfig,
    RestartConfig,
    Strategy,
    SupervisionConfig,
    edges_of,
    find_cycle,
)
from tlsrt.supervisor.supervision.restart_policy import Do, RestartPolicy, Why
from tlsrt.supervisor.supervision.states import LIVING

PATIENT = RestartConfig(deaths=1000)
ACTIVE, FAILED, WAITING, BACKOFF = LoopState.ACTIVE, LoopState.FAILED, LoopState.WAITING, LoopState.BACKOFF


def world(
    strategy: Strategy = Strategy.ONE_FOR_ONE, restart: RestartConfig = PATIENT, **depends: tuple[str, ...]
) -> SimulatedLoops:
    group = GroupConfig("g", ("b", "c", "d"), strategy, restart)
    return SimulatedLoops(RestartPolicy(SupervisionConfig(PATIENT, (group,), depends), LOOPS, lambda: 1.0))


# Exactly who, in which order


@pytest.mark.parametrize(
    ("strategy", "dead", "ended", "started"),
    [
        (Strategy.ONE_FOR_ONE, "c", [], ["c"]),
        (Strategy.REST_FOR_ONE, "b", ["d", "c"], ["b", "c", "d"]),
        (Strategy.REST_FOR_ONE, "c", ["d"], ["c", "d"]),
        (Strategy.REST_FOR_ONE, "d", [], ["d"]),
        (Strategy.ONE_FOR_ALL, "c", ["d", "b"], ["b", "c", "d"]),
        (Strategy.ONE_FOR_ALL, "a", [], ["a"]),
    ],
)
def test_who_ends_and_who_starts_in_which_order(
    strategy: Strategy, dead: str, ended: list[str], started: list[str]
) -> None:
    one = world(strategy)
    one.die(dead)
    one.rest()
    assert (one.did(Do.END), one.did(Do.START)) == (ended, started)
    assert {*one.states.values()} == {ACTIVE}


def test_nobody_starts_before_the_last_one_has_left() -> None:
    one = world(Strategy.REST_FOR_ONE)
    one.die("b")
    assert (one.did(Do.END), one.leaving) == (["d"], {"d"}), "one after another"
    one.die("d")
    assert (one.did(Do.END), one.did(Do.START)) == (["d", "c"], [])
    one.die("c")
    assert one.did(Do.START) == ["b", "c", "d"]


def test_what_dies_while_it_is_to_be_ended_is_no_second_death() -> None:
    one = world(Strategy.ONE_FOR_ALL, RestartConfig(deaths=2))
    one.die("b")
    one.die("c")  # of itself, before its turn to end
    one.rest()
    assert not one.failures and {*one.states.values()} == {ACTIVE}


def test_the_first_restart_is_at_once_and_the_next_ones_wait() -> None:
    one = world()
    one.die("c")
    assert one.states["c"] is ACTIVE, "no time has passed"
    one.die("c", active_s=0.1)
    assert (one.states["c"], one.restart_policy.wake_at) == (BACKOFF, 0.05)
    one.die("d", active_s=0.1)
    assert one.states["d"] is ACTIVE, "the delay is of a loop, not of its group"


def test_too_often_is_the_end_of_the_whole_group_and_of_no_other() -> None:
    one = world(Strategy.ONE_FOR_ONE, RestartConfig(deaths=3, window_s=30))
    for name in ("b", "c", "d"):
        one.die(name, active_s=0.0)
    one.rest()
    assert [one.states[name] for name in LOOPS] == [ACTIVE, ACTIVE, FAILED, FAILED, FAILED, ACTIVE]
    assert one.did(Do.END) == ["c", "b"]
    (failure,) = one.failures
    assert failure.sentence == "a loop of g died 3 times in 30 s, the last: d, signal SIGKILL"
    assert failure.escalation is Escalation.DEGRADED
    one.restart_policy.restart("c", one.now)
    one.look()
    one.rest()
    assert {*one.states.values()} == {ACTIVE} and not one.restart_policy.failures
    one.die("b", active_s=0.0)
    assert one.states["b"] is ACTIVE, "and its past is forgotten"


def test_the_group_of_primary_ends_the_host() -> None:
    one = SimulatedLoops(RestartPolicy(SupervisionConfig(RestartConfig(deaths=1)), LOOPS, lambda: 1.0))
    one.die("primary")
    assert one.failures[0].escalation is Escalation.EXIT
    assert one.failures[0].sentence == "primary died once in 60 s, the last: primary, signal SIGKILL"


def test_dependents_of_a_failure_wait_and_come_back_by_themselves() -> None:
    one = world(a=("c",), e=("a",))
    one.restart_policy.failed_permanently("c", "its code cannot be imported")
    one.die("c")
    assert one.did(Do.END) == ["e"], "the last in the order ends first"
    one.rest()
    assert one.did(Do.END) == ["e", "a"]
    assert [one.states[name] for name in "abcde"] == [WAITING, ACTIVE, FAILED, ACTIVE, WAITING]
    assert one.restart_policy.waits_for("e") == ["c"]
    one.restart_policy.restart("c", one.now)
    one.done.clear()
    one.look()
    assert one.did(Do.START) == ["c", "a", "e"], "each when what it depends on is active"
    assert {*one.states.values()} == {ACTIVE}


def test_a_dependent_of_a_loop_that_is_merely_restarted_lives_on() -> None:
    one = world(a=("c",))
    one.die("c")
    one.rest()
    assert one.did(Do.END) == [] and one.did(Do.START) == ["c"]


def test_whoever_comes_after_a_loop_that_waits_waits_too() -> None:
    one = world(Strategy.REST_FOR_ONE, b=("a",))
    one.restart_policy.failed_permanently("a", "x")
    one.die("a")
    one.rest()
    assert [one.states[name] for name in "abcd"] == [FAILED, WAITING, WAITING, WAITING]
    one.restart_policy.restart("a", one.now)
    one.look()
    one.rest()
    assert {*one.states.values()} == {ACTIVE}


def test_the_operator_restarts_with_the_strategy_and_without_a_delay() -> None:
    one = world(Strategy.REST_FOR_ONE)
    one.die("c", active_s=0.0)
    one.rest()
    one.done.clear()
    assert one.restart_policy.restart("c", one.now) == {"c", "d"}
    one.look()
    one.rest()
    assert (one.did(Do.END), one.did(Do.START)) == (["d", "c"], ["c", "d"])
    assert one.restart_policy.deaths("g", one.now) == 0


def test_what_was_given_up_stays_down_when_a_loop_before_it_restarts() -> None:
    one = world(Strategy.REST_FOR_ONE)
    one.restart_policy.failed_permanently("c", "x")
    one.die("c")
    one.rest()
    assert [one.states[name] for name in "bcd"] == [ACTIVE, FAILED, FAILED]
    one.done.clear()
    one.die("b")
    one.rest()
    assert (one.did(Do.START), one.states["d"]) == (["b"], FAILED)


def test_who_waits_and_is_due_as_well_starts_once() -> None:
    one = world(e=("b",))
    for _ in range(2):
        one.die("e", active_s=0.0)
    one.restart_policy.failed_permanently("b", "x")
    one.die("b")
    assert (one.states["e"], one.restart_policy.is_pending("e")) == (WAITING, True)
    one.done.clear()
    one.restart_policy.restart("b", one.now)
    one.look()
    assert (one.states["b"], one.states["e"]) == (ACTIVE, WAITING), "its delay is not over"
    one.rest()
    assert (one.did(Do.START), one.states["e"]) == (["b", "e"], ACTIVE)


def test_whoever_is_due_at_the_same_time_starts_in_order() -> None:
    one = world(a=("e",))
    for name in ("a", "a", "e", "e"):
        one.die(name, active_s=0.0)
    one.done.clear()
    one.rest()
    assert one.did(Do.START) == ["e", "a"]


def test_who_waits_and_is_given_up_with_its_group_does_not_start_once_more() -> None:
    group = GroupConfig("g", ("a", "b", "e"), Strategy.ONE_FOR_ONE, RestartConfig(deaths=3, window_s=20))
    one = SimulatedLoops(RestartPolicy(SupervisionConfig(PATIENT, (group,), {"e": ("d",)}), LOOPS, lambda: 1.0))
    for _ in range(2):
        one.die("e", active_s=0.0)
    one.restart_policy.failed_permanently("d", "x")
    one.die("d")
    one.restart_policy.restart("d", one.now)
    one.look()
    assert (one.states["d"], one.states["e"]) == (ACTIVE, WAITING), "its delay is not over"
    one.done.clear()
    one.die("a")
    one.rest()
    assert (one.did(Do.START), one.did(Do.END), one.states["e"]) == ([], ["b"], FAILED)


def test_what_the_operator_stops_stays_down_and_what_depends_on_it_waits() -> None:
    one = world(Strategy.ONE_FOR_ALL, a=("c",))
    one.restart_policy.stop("c")
    one.look()
    one.rest()
    assert [one.states[name] for name in "abcd"] == [WAITING, ACTIVE, FAILED, WAITING]
    assert {*one.restart_policy.dependents("c")} == {"a", "d"}
    assert all(
        step.why is (Why.STOPPED if step.loop == "c" else Why.DEPENDENCY) for step in one.done if step.do is Do.END
    )
    one.done.clear()
    one.die("b")
    one.rest()
    one.restart_policy.restart("b", one.now)
    one.look()
    one.rest()
    assert one.states["c"] is FAILED and "c" not in one.did(Do.START), (
        "neither its group nor a restart of that starts it"
    )
    assert one.restart_policy.restart("c", one.now) >= {"c"}
    one.look()
    one.rest()
    assert {*one.states.values()} == {ACTIVE} and one.restart_policy.deaths("g", one.now) == 0


def test_a_group_that_is_given_up_leaves_what_was_stopped_to_the_operator() -> None:
    one = world(Strategy.ONE_FOR_ONE, RestartConfig(deaths=1))
    one.restart_policy.stop("c")
    one.look()
    one.rest()
    one.die("b", active_s=0.0)
    one.rest()
    assert one.restart_policy.restart("b", one.now) == {"b", "d"}
    one.look()
    one.rest()
    assert one.states["c"] is FAILED and one.restart_policy.is_stopped("c")


# Whatever happens

NAMES = LOOPS[1:]
SUPERVISIONS = st.builds(
    lambda loops, strategy, depends: SupervisionConfig(
        RestartConfig(deaths=4, window_s=20),
        (GroupConfig("g", tuple(loops), strategy, RestartConfig(deaths=5, window_s=20)),),
        {after: (before,) for after, before in depends.items()},
    ),
    st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True),
    st.sampled_from(Strategy),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES), max_size=4),
).filter(lambda supervision: not find_cycle(edges_of(supervision.groups, supervision.depends)))
DEEDS = st.sampled_from(["die", "die", "die", "leave", "pass", "restart", "hopeless", "stop"])


# c restarts with b and comes after a, which is not of their group and returns when b is active.
ROUND_AROUND_A_WAITER = SupervisionConfig(
    PATIENT, (GroupConfig("g", ("b", "c"), Strategy.REST_FOR_ONE, PATIENT),), {"a": ("b",), "c": ("a",)}
)


@settings(deadline=None, max_examples=400)
@example(
    ROUND_AROUND_A_WAITER, [("hopeless", "b", 0.0), ("die", "a", 0.0), ("die", "c", 0.0), ("restart", "b", 0.0)], 0
)
@given(SUPERVISIONS, st.lists(st.tuples(DEEDS, st.sampled_from(LOOPS), st.floats(0, 15)), max_size=60), st.integers())
def test_a_random_walk(supervision: SupervisionConfig, deeds: list[tuple[str, str, float]], seed: int) -> None:
    one = SimulatedLoops(RestartPolicy(supervision, LOOPS, random.Random(seed).random))
    edges = edges_of(supervision.groups, supervision.depends)
    stopped = set[str]()
    for deed, name, number in deeds:
        if deed == "die":
            one.die(name, number)
        elif deed == "leave" and one.leaving:
            one.die(min(one.leaving))
        elif deed == "pass":
            one.now += number
            one.look()
        elif deed == "restart" and one.states[name] is not WAITING:
            stopped -= one.restart_policy.restart(name, one.now)
            one.look()
        elif deed == "stop" and name != "primary":
            one.restart_policy.stop(name)
            stopped.add(name)
            one.look()
        elif deed == "hopeless" and one.states[name] in LIVING and name not in one.leaving:
            if one.restart_policy.failure_of(name) is None and not one.restart_policy.is_pending(name):
                one.restart_policy.failed_permanently(name, "its code cannot be imported")
            one.die(name, 0.0)
        _assert_order(one)
    one.rest()
    _assert_order(one)
    assert stopped == {name for name in LOOPS if one.restart_policy.is_stopped(name)}, "only the operator starts it"
    failed = {name for failure in one.restart_policy.failures for name in failure.loops}
    for name in LOOPS:
        before = {edge.before for edge in edges if edge.after == name}
        if name in failed:
            assert one.states[name] is FAILED
        elif any(one.states[other] in (FAILED, WAITING) for other in before):
            assert one.states[name] is WAITING, "what it needs is not there"
        else:
            assert one.states[name] is ACTIVE, "nothing is forgotten"


def _assert_order(one: SimulatedLoops) -> None:
    """Whoever is started in one breath with another, and comes after it, is started after it, and nobody twice.

    One breath, not one deed: a round starts together, and who merely waits for one of it comes later. Whoever of the
    round comes after that one is forked before it, and becomes active after it, which SimulatedLoops.activate looks at.
    """
    breaths, one.breaths = one.breaths, []
    one.done.clear()
    for started in breaths:
        assert len(set(started)) == len(started), f"started twice in one breath: {started}"
        for index, name in enumerate(started):
            late = set(one.befores(name)) & set(started[index:])
            assert not late, f"{name} is started before {late}"


def test_deaths_that_a_disk_is_to_blame_for_never_give_a_loop_up_and_hide_no_others() -> None:
    world = SimulatedLoops(RestartPolicy(SupervisionConfig(), LOOPS, lambda: 1.0))
    for _ in range(1000):
        verdict = world.restart_policy.died("a", world.now, 0.0, "its disk", counts=False)
        assert verdict.failure is None and verdict.delay_s <= RestartConfig().cap_s
    assert world.restart_policy.deaths("a", world.now) == 0
    failures = [world.restart_policy.died("a", world.now, 0.0, "a bug").failure for _ in range(RestartConfig().deaths)]
    assert failures[-1] is not None and not any(failures[:-1])
