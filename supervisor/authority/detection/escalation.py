"""The ladder: which step follows from which score, as data. Pure.

A step ends by itself, but for the lock. Whoever proved nothing (an address) is never more than blocked, so that nobody
can have a component or the whole host shut by talking to the door; and points of an advisory detector alone never do
more than end a session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tlsrt.supervisor.authority.model.services import Charge, ChargeKind


class ResponseStep(StrEnum):
    """What is done."""

    LIMIT = "limit"  # an address: a quarter of the connections; sessions: a quarter of the open calls
    REVOKE = "revoke"  # its sessions end, and whoever may opens others
    BLOCK = "block"  # an address: its connections are closed as they come
    QUARANTINE = "quarantine"  # shut out: no session, no keys, and nobody has keys to it
    RESPAWN = "respawn"  # the process is killed, and its loop born again with other keys
    LOCK = "lock"  # the whole host; ended by an operator only


LIMITED_SHARE = 4  # a limited one has a quarter
LIMIT_MS = 60_000
SHUT_FIRST_MS, SHUT_CAP_MS, SHUT_JITTER = 60_000, 3_600_000, 0.2  # of a block or quarantine
AGAIN_MS = 1_000  # what has no duration is not done again within this time: for one attack comes in several reports
RESPAWNS, RESPAWNS_MS = 3, 600_000  # of one loop; after that it is left in quarantine
SOURCES, SOURCES_MS = 2, 60_000  # loops at the top at the same time, and the host is locked
SCORE_AFTER_RESPAWN = 40.0

_IN_HOST = (
    (20, ResponseStep.LIMIT),
    (50, ResponseStep.REVOKE),
    (80, ResponseStep.QUARANTINE),
    (100, ResponseStep.RESPAWN),
)
LADDER: Mapping[ChargeKind, tuple[tuple[int, ResponseStep], ...]] = {
    ChargeKind.ADDRESS: ((20, ResponseStep.LIMIT), (50, ResponseStep.BLOCK)),
    ChargeKind.SESSION: _IN_HOST[:3],  # of the subject whose session it proved to be
    ChargeKind.CHANNEL: _IN_HOST,
    ChargeKind.PROCESS: _IN_HOST,
}
LASTING = frozenset({ResponseStep.LIMIT, ResponseStep.BLOCK, ResponseStep.QUARANTINE})
TRUSTED = frozenset({"primary", "authority", "supervisor"})  # a trigger at one of these locks the host
ADVISED_MOST = ResponseStep.REVOKE


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that is taken. `until` is 0 for what has no duration."""

    step: ResponseStep
    charge: Charge
    detector: str
    what: str
    score: float
    until: int = 0
    is_observed: bool = False  # it is told and not taken
    is_final: bool = False  # another process of the loop does not end it


def steps_of(charge: Charge, *, is_loop: bool, is_advised: bool = False) -> tuple[tuple[int, ResponseStep], ...]:
    """Return the steps of one who is charged: only a loop can be respawned."""
    steps = LADDER[charge.kind]
    if is_advised:
        steps = steps[: next((i + 1 for i, (_, step) in enumerate(steps) if step is ADVISED_MOST), len(steps))]
    return steps if is_loop else tuple(entry for entry in steps if entry[1] is not ResponseStep.RESPAWN)


def step_for(
    steps: tuple[tuple[int, ResponseStep], ...], before: float, after: float, *, is_trigger: bool
) -> ResponseStep | None:
    """Return the highest step whose threshold was just passed; for a trigger, whose threshold lies below the score.

    What lasts, and has ended while the score was still above, begins again with the next offence.
    """
    found = [
        step for least, step in steps if least <= after and (is_trigger or before < least or step in LASTING)
    ]  # fmt: skip
    return found[-1] if found else None
