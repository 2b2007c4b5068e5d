from __future__ import annotations

import itertools

import pytest

from tlsrt.errors import InternalError
from tlsrt.supervisor.authority.sessions.states import ENDED, TABLE, WORKING, SessionEvent, SessionState, next_state

PAIRS = list(itertools.product(SessionState, SessionEvent))


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_full_product(state: SessionState, event: SessionEvent) -> None:
    if (state, event) in TABLE:
        assert next_state(state, event) is TABLE[state, event]
    else:
        with pytest.raises(InternalError, match=f"{state} cannot {event}"):
            next_state(state, event)


def test_nothing_leads_out_of_an_end() -> None:
    assert not [state for state, _ in TABLE if state in ENDED]


def test_quarantine_never_leads_back_to_work() -> None:
    reached, edge = {SessionState.QUARANTINED}, {SessionState.QUARANTINED}
    while edge:
        edge = {after for (before, _), after in TABLE.items() if before in edge} - reached
        reached |= edge
    assert not reached & WORKING


def test_every_living_state_can_be_revoked() -> None:
    for state in SessionState:
        if state not in ENDED:
            assert next_state(state, SessionEvent.REVOKE) is SessionState.REVOKED
