"""Escalation: which action follows from which score, as data. Pure.

An action ends by itself, but for the lock. A source that proved nothing (an address) is never more than blocked, so
that no stranger can have a component or the whole host shut by talking to the door; and points of an advisory detector
alone never do more than end a session. What Primary says of a loop is charged to its channel, and what supervisor and
authority saw themselves, or other loops witnessed, to its process: a channel never locks the host, so that the word of
a captured Primary ends at quarantine. What a component reports of the host is charged to no one: its points can lock
the host, where the operator has the detectors of alerts act.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind


class Action(StrEnum):
    """What is done against a source."""

    LIMIT = "limit"  # an address: a quarter of the connections; sessions: a quarter of the open calls
    REVOKE = "revoke"  # its sessions end; its holder may open others
    BLOCK = "block"  # an address: its connections are closed as they come
    QUARANTINE = "quarantine"  # blocked: no session, no keys, and no keys to it for others
    RESPAWN = "respawn"  # the process is killed, and its loop respawned with other keys
    LOCK = "lock"  # the whole host; ended by an operator only


LIMITED_SHARE = 4  # a limited one has a quarter
LIMIT_MS = 60_000
SHUT_FIRST_MS, SHUT_CAP_MS, SHUT_JITTER = 60_000, 3_600_000, 0.2  # of a block or quarantine
AGAIN_MS = 1_000  # what has no duration is not done again within this time: for one attack comes in several reports
RESPAWNS, RESPAWNS_MS = 3, 600_000  # of one loop; after that it is left in quarantine
SOURCES, SOURCES_MS = 2, 60_000  # loops at the top at the same time, and the host is locked
SCORE_AFTER_RESPAWN = 40.0

_IN_HOST = (
    (20, Action.LIMIT),
    (50, Action.REVOKE),
    (80, Action.QUARANTINE),
    (100, Action.RESPAWN),
)
THRESHOLDS: Mapping[SourceKind, tuple[tuple[int, Action], ...]] = {
    SourceKind.ADDRESS: ((20, Action.LIMIT), (50, Action.BLOCK)),
    SourceKind.SESSION: _IN_HOST[:3],  # of the subject whose session it proved to be
    SourceKind.CHANNEL: _IN_HOST,
    SourceKind.PROCESS: _IN_HOST,
    SourceKind.ALERT: ((100, Action.LOCK),),  # only where the operator has these detectors act
}
LASTING = frozenset({Action.LIMIT, Action.BLOCK, Action.QUARANTINE})
LOCKING = frozenset({SourceKind.PROCESS})  # a source whose signals may lock the host
TRUSTED = frozenset({"primary", "authority", "supervisor"})  # a trigger at one of these locks the host
ADVISORY_MOST = Action.REVOKE


@dataclass(frozen=True, slots=True)
class AppliedAction:
    """An action that was taken. `until` is 0 for what has no duration."""

    action: Action
    source: SignalSource
    detector: str
    what: str
    score: float
    until: int = 0
    is_observed: bool = False  # it is reported and not taken
    is_final: bool = False  # a new process of the loop does not end it


def thresholds_of(source: SignalSource, *, is_loop: bool, is_advised: bool = False) -> tuple[tuple[int, Action], ...]:
    """Return the thresholds of a source: only a loop can be respawned."""
    actions = THRESHOLDS[source.kind]
    if is_advised:
        actions = actions[
            : next((i + 1 for i, (_, action) in enumerate(actions) if action is ADVISORY_MOST), len(actions))
        ]
    return actions if is_loop else tuple(entry for entry in actions if entry[1] is not Action.RESPAWN)


def action_for(
    actions: tuple[tuple[int, Action], ...], before: float, after: float, *, is_trigger: bool
) -> Action | None:
    """Return the highest action whose threshold was just passed. For a trigger, whose threshold lies below the score.

    What lasts, and has ended while the score was still above, begins again with the next signal.
    """
    found = [
        action for least, action in actions if least <= after and (is_trigger or before < least or action in LASTING)
    ]  # fmt: skip
    return found[-1] if found else None
