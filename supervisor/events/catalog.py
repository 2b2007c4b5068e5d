"""All events of a host as data: name, kind, severity, and what it says. `events --kinds` prints this table.

A name belongs to one kind. What happened to whom is said by the event's subject, and what is special about this time
by the words behind the sentence and by the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class EventKind(StrEnum):
    """What an event is about."""

    LIFECYCLE = "lifecycle"
    SESSION = "session"
    SECURITY = "security"
    HEALTH = "health"


class Severity(StrEnum):
    """Whether somebody should look."""

    INFO = "info"
    WARNING = "warning"  # something went wrong and is being dealt with
    ALARM = "alarm"  # something stays wrong, or somebody tried what he may not


class EventName(NamedTuple):
    """One entry of the table."""

    name: str
    kind: EventKind
    severity: Severity
    sentence: str


_INFO, _WARNING, _ALARM = Severity.INFO, Severity.WARNING, Severity.ALARM
_LIFECYCLE = (
    ("starting", _INFO, "a host begins its life"),
    ("spawned", _INFO, "a process was forked, to confine itself"),
    ("attested", _INFO, "looked at from outside, it is what its profile says, and may get keys"),
    ("active", _INFO, "it serves"),
    ("ready", _INFO, "every loop is active or given up"),
    ("draining", _INFO, "it finishes its work"),
    ("ending", _INFO, "it is asked to end"),
    ("condemned", _WARNING, "it is killed"),
    ("ended", _INFO, "it has ended as it was asked to"),
    ("died", _WARNING, "it is dead"),
    ("backoff", _INFO, "it will be started again"),
    ("waiting", _WARNING, "it stays down until what it depends on is active"),
    ("given_up", _ALARM, "it will not be started again"),
    ("escalated", _ALARM, "a group has failed, and the host stops as the configuration says"),
    ("reloading", _INFO, "changed profiles and policy are being taken"),
    ("reloaded", _INFO, "changed profiles and policy are in force"),
    ("reload_refused", _WARNING, "nothing was changed"),
    ("stopping", _INFO, "the host ends in order"),
    ("stopped", _INFO, "the host has ended"),
)
_SESSION = (
    ("session_opened", _INFO, "a session was opened"),
    ("session_closed", _INFO, "its holder has left"),
    ("session_expired", _INFO, "a session has reached its end"),
    ("session_revoked", _INFO, "a session was ended, and every verifier is told"),
    ("session_quarantined", _WARNING, "a session was taken out of work"),
    ("client_refused", _WARNING, "a client got no session from the authority"),
    ("turned_away", _INFO, "connections ended at the door, as Primary says"),
)
_SECURITY = (
    ("violation", _ALARM, "a call that it may not make"),
    ("difference", _ALARM, "looked at from outside, it is not what its profile says"),
    ("limit_reached", _WARNING, "it has used up a limit of its profile"),
    ("offence", _ALARM, "it broke the protocol of its control channel"),
    ("anomaly", _ALARM, "it did too much of what it may not"),
    ("unusual", _WARNING, "its traffic is unlike what is usual for it"),
    ("detected", _WARNING, "an offence was found"),
    ("response", _ALARM, "a step is taken against it"),
    ("response_ended", _INFO, "a step against it has ended"),
    ("would_respond", _WARNING, "a step would be taken against it, but all is observed only"),
    ("unprepared", _ALARM, "it did not acknowledge a new epoch in time"),
    ("unattested", _ALARM, "it could not be looked at for a new epoch in time"),
    ("reported", _WARNING, "the authority says"),
    ("start_refused", _ALARM, "the host does not start, or does not go on"),
    ("revocation", _WARNING, "it is revoked, and every verifier is told"),
    ("restored", _INFO, "it is not revoked any more"),
    ("client_added", _WARNING, "a client was enrolled"),
    ("client_enrolled", _WARNING, "a client has come with its join code and got its certificate"),
    ("client_changed", _WARNING, "what a client may do was changed, and its sessions end"),
    ("client_renewed", _INFO, "a client got another certificate"),
    ("locked", _ALARM, "nobody has a session, and the door says so to all who come, until it is unlocked"),
    ("unlocked", _WARNING, "sessions are given again, in a new epoch"),
    ("lock_refused", _WARNING, "a client that may not, or proved nothing, wanted to lock the host"),
    ("unlock_refused", _WARNING, "a client that may not, or proved nothing, wanted to unlock the host"),
    ("epoch", _INFO, "a new epoch: new keys and tokens for all"),
    ("rotated", _WARNING, "another master_key is in force"),
    ("rotate_refused", _WARNING, "master_key was not replaced"),
    ("decoy_touched", _ALARM, "it asked for what nobody has a reason to touch"),
    ("decoys_proved", _INFO, "a decoy was touched for a trial, and the authority was told"),
    ("decoys_blind", _ALARM, "a decoy was touched for a trial, and the authority was not told"),
    ("notes_lost", _WARNING, "more happened than could be told"),
)
_HEALTH = (
    ("suspect", _WARNING, "its heartbeat is late"),
    ("recovered", _INFO, "its heartbeat is in time again"),
    ("hung", _WARNING, "it does not beat any more"),
    ("slow", _WARNING, "its event loop is late"),
    ("in_time", _INFO, "its event loop is in time again"),
    ("component_health", _WARNING, "a component says how it is"),
    ("stuck", _ALARM, "it was killed, and the kernel does not let it go"),
)

EVENTS: Mapping[str, EventName] = {
    name: EventName(name, kind, severity, sentence)
    for kind, rows in (
        (EventKind.LIFECYCLE, _LIFECYCLE),
        (EventKind.SESSION, _SESSION),
        (EventKind.SECURITY, _SECURITY),
        (EventKind.HEALTH, _HEALTH),
    )
    for name, severity, sentence in rows
}
