"""Catalog of events: name, kind, severity and text. `events --kinds` prints this table.

A name belongs to one kind. The subject of an event says to whom it happened; the words behind its text and its fields
say what is special about this time.
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
    PROGRAM = "program"


class Severity(StrEnum):
    """Whether an operator should look."""

    INFO = "info"
    WARNING = "warning"  # something went wrong and is being dealt with
    ALARM = "alarm"  # something stays wrong, or there was an attempt at what is forbidden


class EventName(NamedTuple):
    """One entry of the table."""

    name: str
    kind: EventKind
    severity: Severity
    sentence: str


_INFO, _WARNING, _ALARM = Severity.INFO, Severity.WARNING, Severity.ALARM
_LIFECYCLE = (
    ("starting", _INFO, "host starting"),
    ("spawned", _INFO, "process forked; it confines itself next"),
    ("attested", _INFO, "attestation passed: the process matches its profile and may get keys"),
    ("active", _INFO, "serving"),
    ("ready", _INFO, "every loop is active or given up"),
    ("draining", _INFO, "finishing the calls in flight"),
    ("ending", _INFO, "asked to stop"),
    ("killed", _WARNING, "killed by the supervisor"),
    ("ended", _INFO, "stopped on request"),
    ("died", _WARNING, "process exited unexpectedly"),
    ("backoff", _INFO, "restart scheduled"),
    ("waiting", _WARNING, "down until its dependencies are active"),
    ("given_up", _ALARM, "given up: no further restart"),
    ("kept_down", _WARNING, "stopped by the operator until it is started"),
    ("escalated", _ALARM, "restart group failed; the host stops as configured"),
    ("reloading", _INFO, "reload started"),
    ("reloaded", _INFO, "reload applied"),
    ("reload_refused", _WARNING, "reload refused; nothing was changed"),
    ("stopping", _INFO, "host stopping"),
    ("stopped", _INFO, "host stopped"),
)
_SESSION = (
    ("session_opened", _INFO, "session opened"),
    ("session_closed", _INFO, "session closed by client"),
    ("session_expired", _INFO, "session expired"),
    ("session_revoked", _INFO, "session revoked"),
    ("session_quarantined", _WARNING, "session quarantined"),
    ("client_refused", _WARNING, "session refused to client"),
    ("turned_away", _INFO, "connections refused at the door"),
    ("job_run", _INFO, "job run in the name of its owner"),
    ("job_failed", _WARNING, "job did not end well"),
    ("job_refused", _WARNING, "job not run"),
)
_SECURITY = (
    ("violation", _ALARM, "forbidden system call"),
    ("difference", _ALARM, "attestation failed: the process differs from its profile"),
    ("egress_wanted", _WARNING, "host wanted that no egress rule lists"),
    ("name_resolved", _INFO, "name of an egress rule has other addresses"),
    ("name_unresolved", _WARNING, "name of an egress rule cannot be used"),
    ("limit_reached", _WARNING, "profile limit reached"),
    ("offence", _ALARM, "it broke the protocol of its control channel"),
    ("anomaly", _ALARM, "anomaly score exceeded threshold"),
    ("unusual", _WARNING, "traffic differs from the learned baseline"),
    ("detected", _WARNING, "detector matched"),
    ("over_budget", _WARNING, "over its budget; made to wait"),
    ("response", _ALARM, "response action applied"),
    ("response_ended", _INFO, "response action ended"),
    ("would_respond", _WARNING, "response action due, not applied: observe mode"),
    ("unprepared", _ALARM, "new epoch not acknowledged in time"),
    ("unattested", _ALARM, "not attested for the new epoch in time"),
    ("reported", _WARNING, "authority reports"),
    ("start_refused", _ALARM, "host cannot start or go on"),
    ("revocation", _WARNING, "revoked"),
    ("restored", _INFO, "revocation lifted"),
    ("listening", _WARNING, "a component listens: a further door, opened by the configuration"),
    ("listening_ended", _INFO, "a component does not listen any more"),
    ("client_added", _WARNING, "client enrolled"),
    ("client_enrolled", _WARNING, "client enrolled with its join code"),
    ("client_changed", _WARNING, "client rights changed; its sessions end"),
    ("client_renewed", _INFO, "client certificate renewed"),
    ("locked", _ALARM, "host locked: no sessions until it is unlocked"),
    ("unlocked", _WARNING, "host unlocked: sessions are issued again, in a new epoch"),
    ("lock_refused", _WARNING, "lock request refused"),
    ("unlock_refused", _WARNING, "unlock request refused"),
    ("epoch", _INFO, "new epoch: new keys and tokens"),
    ("rotated", _WARNING, "master key rotated"),
    ("rotate_refused", _WARNING, "master key rotation refused; the key in force stays"),
    ("decoy_touched", _ALARM, "decoy accessed"),
    ("setting_written", _INFO, "kernel setting written for a component"),
    ("setting_failed", _WARNING, "kernel setting was not written for a component"),
    ("decoys_proved", _INFO, "decoy test passed: the authority was told of the access"),
    ("decoys_blind", _ALARM, "decoy test failed: the authority was not told of the access"),
    ("notes_lost", _WARNING, "events lost: more happened than could be recorded"),
)
_HEALTH = (
    ("suspect", _WARNING, "heartbeat late"),
    ("recovered", _INFO, "heartbeat on time again"),
    ("hung", _WARNING, "heartbeat lost"),
    ("slow", _WARNING, "event loop late"),
    ("in_time", _INFO, "event loop on time again"),
    ("component_health", _WARNING, "component health changed"),
    ("disk_wait", _WARNING, "disk does not answer"),
    ("disk_answers", _INFO, "disk answers again"),
    ("stuck", _ALARM, "killed, but held in the kernel"),
)

_PROGRAM = (
    ("program_ended", _INFO, "program ended"),
    ("program_failed", _WARNING, "program did not end well"),
    ("program_refused", _WARNING, "program was refused a system call"),
    ("program_forbidden", _ALARM, "program made a forbidden system call"),
)

EVENTS: Mapping[str, EventName] = {
    name: EventName(name, kind, severity, sentence)
    for kind, rows in (
        (EventKind.LIFECYCLE, _LIFECYCLE),
        (EventKind.SESSION, _SESSION),
        (EventKind.SECURITY, _SECURITY),
        (EventKind.HEALTH, _HEALTH),
        (EventKind.PROGRAM, _PROGRAM),
    )
    for name, severity, sentence in rows
}
