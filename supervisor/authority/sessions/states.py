"""States of a session, and the table of its transitions. Pure.

Every component and every external client works under a session. It starts in `opening`, works while it is `active`
or `renewing`, and ends in exactly one of the other states, from which nothing leads back: a revoked holder needs a new
session, with a new id and new keys.
"""

from __future__ import annotations

from enum import StrEnum

from tlsrt.errors import InternalError


class SessionState(StrEnum):
    """Where a session is in its life."""

    OPENING = "opening"  # made, its keys not yet handed out
    ACTIVE = "active"
    RENEWING = "renewing"  # past the half-life of its token, the next one is on its way
    EXPIRED = "expired"  # its maximum life is over, or it never left opening
    REVOKED = "revoked"
    QUARANTINED = "quarantined"  # taken out by the anomaly score, kept for a look
    CLOSED = "closed"


class SessionEvent(StrEnum):
    """What happens to a session."""

    OPEN = "open"  # its holder has its keys
    RENEW = "renew"
    RENEWED = "renewed"
    EXPIRE = "expire"
    REVOKE = "revoke"
    QUARANTINE = "quarantine"
    CLOSE = "close"


TABLE: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (SessionState.OPENING, SessionEvent.OPEN): SessionState.ACTIVE,
    (SessionState.OPENING, SessionEvent.EXPIRE): SessionState.EXPIRED,
    (SessionState.OPENING, SessionEvent.REVOKE): SessionState.REVOKED,
    (SessionState.OPENING, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.ACTIVE, SessionEvent.RENEW): SessionState.RENEWING,
    (SessionState.ACTIVE, SessionEvent.EXPIRE): SessionState.EXPIRED,
    (SessionState.ACTIVE, SessionEvent.REVOKE): SessionState.REVOKED,
    (SessionState.ACTIVE, SessionEvent.QUARANTINE): SessionState.QUARANTINED,
    (SessionState.ACTIVE, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.RENEWING, SessionEvent.RENEWED): SessionState.ACTIVE,
    (SessionState.RENEWING, SessionEvent.EXPIRE): SessionState.EXPIRED,
    (SessionState.RENEWING, SessionEvent.REVOKE): SessionState.REVOKED,
    (SessionState.RENEWING, SessionEvent.QUARANTINE): SessionState.QUARANTINED,
    (SessionState.RENEWING, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.QUARANTINED, SessionEvent.EXPIRE): SessionState.EXPIRED,
    (SessionState.QUARANTINED, SessionEvent.REVOKE): SessionState.REVOKED,
    (SessionState.QUARANTINED, SessionEvent.CLOSE): SessionState.CLOSED,
}

WORKING = frozenset({SessionState.ACTIVE, SessionState.RENEWING})
ENDED = frozenset({SessionState.EXPIRED, SessionState.REVOKED, SessionState.CLOSED})


def next_state(state: SessionState, event: SessionEvent) -> SessionState:
    """Return where `event` leads from `state`. Raise InternalError for what the table does not list."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise InternalError(f"a session that is {state} cannot {event}") from None
