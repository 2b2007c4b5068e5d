"""The lifecycle table, as a full product and as random walks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.life import LIFE, LoopState
from tlsrt.errors import InternalError
from tlsrt.supervisor.supervision.states import BEATING, LIVING, TRANSITIONS, TRUSTED, LoopEvent, advance

PAIRS = [(state, event) for state in LoopState for event in LoopEvent]
EARLIER = {
    LoopState.CONFINED: LoopState.SPAWNED,
    LoopState.SEALED: LoopState.CONFINED,
    LoopState.ATTESTED: LoopState.SEALED,
    LoopState.READY: LoopState.ATTESTED,
    LoopState.ACTIVE: LoopState.READY,
}


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_either_listed_or_raises(state: LoopState, event: LoopEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(InternalError, match=f"{event} cannot happen to a loop that is {state}"):
            advance(state, event)


def test_each_stage_of_a_start_has_one_way_in() -> None:
    for stage, before in EARLIER.items():
        assert {state for (state, _), after in TRANSITIONS.items() if after is stage} == {before}


def test_only_an_attested_loop_can_become_ready() -> None:
    assert [state for (state, event) in TRANSITIONS if event is LoopEvent.READY] == [LoopState.ATTESTED]
    assert [state for (state, event) in TRANSITIONS if event is LoopEvent.ATTESTED] == [LoopState.SEALED]


def test_a_death_is_possible_exactly_for_the_living_and_leads_down() -> None:
    assert {state for (state, event) in TRANSITIONS if event is LoopEvent.EXITED} == set(LIVING)
    assert {after for (_, event), after in TRANSITIONS.items() if event is LoopEvent.EXITED} == {LoopState.DOWN}


def test_whoever_is_condemned_can_only_die() -> None:
    after = {
        TRANSITIONS[LoopState.STOPPING, event] for event in LoopEvent if (LoopState.STOPPING, event) in TRANSITIONS
    }
    assert after == {LoopState.STOPPING, LoopState.DOWN}


def test_the_life_protocol_lets_a_loop_beat_in_the_states_that_are_watched() -> None:
    assert set(BEATING) <= LIFE.by_name["beat"].states
    assert set(TRUSTED) <= set(LIVING)


@given(st.lists(st.sampled_from(list(LoopEvent)), max_size=60))
def test_a_random_walk_never_serves_without_attestation(events: list[LoopEvent]) -> None:
    state, attested = LoopState.DOWN, False
    for event in events:
        try:
            following = advance(state, event)
        except InternalError:
            continue  # and the state is what it was
        if event is LoopEvent.SPAWN:
            attested = False
        attested = attested or event is LoopEvent.ATTESTED
        state = following
        if state in (LoopState.READY, LoopState.ACTIVE):
            assert attested
