"""The life of one supervised process as a pure table.

`TRANSITIONS` says what may follow what. What is not listed raises and changes nothing. Every
death leads to DOWN; from there `restart_policy.py` decides: RETRY (to be spawned again, later or with others), WAIT
(for what it depends on), GIVE_UP, or nothing at all when the death was wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tlsrt.channels.control.life import LoopState
from tlsrt.errors import InternalError
from tlsrt.supervisor.process.exit_reason import Cause


class LoopEvent(StrEnum):
    """What can happen to a supervised process."""

    SPAWN = "spawn"  # it was forked
    CONFINED = "confined"  # it says: privileges are gone
    SEALED = "sealed"  # it says: ready for attestation
    ATTESTED = "attested"  # attestation passed: it is what its profile says
    READY = "ready"  # it says: I have keys and sockets
    ACTIVE = "active"  # it says: I serve
    DRAIN = "drain"  # we ask it to finish its work
    STOP = "stop"  # we ask it to end
    REFUSED = "refused"  # attestation found a difference: killed
    VIOLATED = "violated"  # it broke a protocol: killed
    FAILED = "failed"  # it says that it cannot go on
    DEADLINE = "deadline"  # it was too slow: killed
    HUNG = "hung"  # its event loop no longer beats: killed
    EXITED = "exited"  # the kernel says that it has ended
    RETRY = "retry"  # dead, to be spawned again after a while
    BACKOFF_OVER = "backoff_over"  # that while is over
    WAIT = "wait"  # dead, until what it depends on is there
    GIVE_UP = "give_up"  # dead too often
    KEEP_DOWN = "keep_down"  # dead, and the operator wants it so


BOOTING = (LoopState.SPAWNED, LoopState.CONFINED, LoopState.SEALED, LoopState.ATTESTED, LoopState.READY)
LIVING = (*BOOTING, LoopState.ACTIVE, LoopState.DRAINING, LoopState.STOPPING)
TRUSTED = (LoopState.ATTESTED, LoopState.READY, LoopState.ACTIVE, LoopState.DRAINING)  # may hold keys
SETTLED = (LoopState.ACTIVE, LoopState.FAILED, LoopState.WAITING)  # nothing more will happen by itself
DOWN_FOR_GOOD = (LoopState.FAILED, LoopState.WAITING)
BEATING = (LoopState.READY, LoopState.ACTIVE, LoopState.DRAINING)

_FORWARD = {
    (LoopState.DOWN, LoopEvent.SPAWN): LoopState.SPAWNED,
    (LoopState.SPAWNED, LoopEvent.CONFINED): LoopState.CONFINED,
    (LoopState.CONFINED, LoopEvent.SEALED): LoopState.SEALED,
    (LoopState.SEALED, LoopEvent.ATTESTED): LoopState.ATTESTED,
    (LoopState.SEALED, LoopEvent.REFUSED): LoopState.STOPPING,
    (LoopState.ATTESTED, LoopEvent.READY): LoopState.READY,
    (LoopState.READY, LoopEvent.ACTIVE): LoopState.ACTIVE,
    (LoopState.READY, LoopEvent.DRAIN): LoopState.DRAINING,
    (LoopState.ACTIVE, LoopEvent.DRAIN): LoopState.DRAINING,
    (LoopState.DOWN, LoopEvent.RETRY): LoopState.BACKOFF,
    (LoopState.DOWN, LoopEvent.WAIT): LoopState.WAITING,
    (LoopState.DOWN, LoopEvent.GIVE_UP): LoopState.FAILED,
    (LoopState.DOWN, LoopEvent.KEEP_DOWN): LoopState.FAILED,
    (LoopState.BACKOFF, LoopEvent.BACKOFF_OVER): LoopState.DOWN,
    (LoopState.BACKOFF, LoopEvent.STOP): LoopState.DOWN,
    (LoopState.WAITING, LoopEvent.STOP): LoopState.DOWN,
    (LoopState.FAILED, LoopEvent.STOP): LoopState.DOWN,
}  # fmt: skip

TRANSITIONS: Mapping[tuple[LoopState, LoopEvent], LoopState] = {
    **_FORWARD,
    **{(state, LoopEvent.EXITED): LoopState.DOWN for state in LIVING},
    **{
        (state, event): LoopState.STOPPING
        for state in LIVING
        for event in (LoopEvent.STOP, LoopEvent.VIOLATED, LoopEvent.FAILED, LoopEvent.DEADLINE)
    },
    **{(state, LoopEvent.HUNG): LoopState.STOPPING for state in BEATING},
    **{(state, LoopEvent.REFUSED): LoopState.STOPPING for state in TRUSTED},
}

_CAUSES = {
    LoopEvent.VIOLATED: Cause.PROTOCOL,
    LoopEvent.REFUSED: Cause.ATTESTATION,
    LoopEvent.DEADLINE: Cause.DEADLINE,
    LoopEvent.HUNG: Cause.HEARTBEAT,
    LoopEvent.STOP: Cause.STOPPED,
    LoopEvent.FAILED: Cause.INTERNAL,
}


def advance(state: LoopState, event: LoopEvent) -> LoopState:
    """Return the state that follows. Raises InternalError for a pair that the table does not list."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InternalError(f"lifecycle: {event} cannot happen to a loop that is {state}") from None


def cause_of_event(event: LoopEvent) -> Cause:
    """Return the usual cause of a death that follows an event of the lifecycle."""
    return _CAUSES[event]
