"""The states of a call: what is in the table happens, and nothing else does."""

from __future__ import annotations

import itertools

import pytest

from tlsrt.loops.sip.call import NEXT, Call, CallEvent, CallState
from tlsrt.loops.sip.message import SipMessage


@pytest.mark.parametrize(("state", "event"), [*itertools.product(CallState, CallEvent)])
def test_each_state_with_each_event(state: CallState, event: CallEvent) -> None:
    call = Call("id", "anna", SipMessage(()), "tag", True, (), 0.0, state)
    following = NEXT.get((state, event))
    assert call.step(event) is (following is not None)
    assert call.state is (following or state)


def test_a_call_that_is_over_stays_so() -> None:
    assert not any(state is CallState.ENDED for state, _ in NEXT)
    assert all((state, CallEvent.LOST) in NEXT for state in CallState if state is not CallState.ENDED)
