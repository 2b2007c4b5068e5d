"""The lifecycle table, as a full product and as random walks; and the restart policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.life import LIFE, LoopState
from tlsrt.errors import InternalError
from tlsrt.supervisor.lifecycle import BEATING, LIVING, TRANSITIONS, TRUSTED, Backoff, Event, RestartPolicy, advance

PAIRS = [(state, event) for state in LoopState for event in Event]
EARLIER = {
    LoopState.CONFINED: LoopState.SPAWNED,
    LoopState.SEALED: LoopState.CONFINED,
    LoopState.ATTESTED: LoopState.SEALED,
    LoopState.READY: LoopState.ATTESTED,
    LoopState.ACTIVE: LoopState.READY,
}


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_either_listed_or_raises(state: LoopState, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(InternalError, match=f"{event} cannot happen to a loop that is {state}"):
            advance(state, event)


def test_each_stage_of_a_start_has_one_way_in() -> None:
    for stage, before in EARLIER.items():
        assert {state for (state, _), after in TRANSITIONS.items() if after is stage} == {before}


def test_only_an_attested_loop_can_become_ready() -> None:
    assert [state for (state, event) in TRANSITIONS if event is Event.READY] == [LoopState.ATTESTED]
    assert [state for (state, event) in TRANSITIONS if event is Event.ATTESTED] == [LoopState.SEALED]


def test_a_death_is_possible_exactly_for_the_living_and_leads_down() -> None:
    assert {state for (state, event) in TRANSITIONS if event is Event.EXITED} == set(LIVING)
    assert {after for (_, event), after in TRANSITIONS.items() if event is Event.EXITED} == {LoopState.DOWN}


def test_whoever_is_condemned_can_only_die() -> None:
    after = {TRANSITIONS[LoopState.STOPPING, event] for event in Event if (LoopState.STOPPING, event) in TRANSITIONS}
    assert after == {LoopState.STOPPING, LoopState.DOWN}


def test_the_life_protocol_lets_a_loop_beat_in_the_states_that_are_watched() -> None:
    assert set(BEATING) <= LIFE.by_name["beat"].states
    assert set(TRUSTED) <= set(LIVING)


@given(st.lists(st.sampled_from(list(Event)), max_size=60))
def test_a_random_walk_never_serves_without_attestation(events: list[Event]) -> None:
    state, attested = LoopState.DOWN, False
    for event in events:
        try:
            following = advance(state, event)
        except InternalError:
            continue  # and the state is what it was
        if event is Event.SPAWN:
            attested = False
        attested = attested or event is Event.ATTESTED
        state = following
        if state in (LoopState.READY, LoopState.ACTIVE):
            assert attested


def test_the_first_respawn_is_at_once_and_then_the_delay_doubles_up_to_the_cap() -> None:
    backoff = Backoff(RestartPolicy(deaths=20))
    delays = [backoff.died(now=10.0 * death, active_s=0.0) for death in range(11)]
    assert delays == [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_ten_deaths_in_a_minute_are_the_end() -> None:
    backoff = Backoff()
    assert None not in [backoff.died(now=6.0 * death, active_s=0.0) for death in range(9)]
    assert backoff.died(now=59.9, active_s=0.0) is None


def test_ten_deaths_in_more_than_a_minute_are_not() -> None:
    backoff = Backoff()
    delays = [backoff.died(now=6.7 * death, active_s=0.0) for death in range(30)]
    assert None not in delays


def test_a_healthy_time_resets_the_delay_and_an_almost_healthy_one_does_not() -> None:
    backoff = Backoff()
    for death in range(4):
        backoff.died(now=100.0 * death, active_s=9.99)
    assert backoff.died(now=1000.0, active_s=9.99) == 0.4
    assert backoff.died(now=2000.0, active_s=10.0) == 0.0
    assert backoff.died(now=3000.0, active_s=0.0) == 0.05


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), max_size=200))
def test_a_delay_is_never_negative_nor_above_the_cap(deaths: list[tuple[float, float]]) -> None:
    backoff = Backoff()
    for now, active_s in sorted(deaths):
        delay = backoff.died(now, active_s)
        assert delay is None or 0.0 <= delay <= 5.0
