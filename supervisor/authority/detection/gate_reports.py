"""Gate reports: which detector each reason of the gate and the door belongs to. Pure.

Primary is believed in this as in everything that only shuts out: one that is captured could cut off any peer anyway.
What its word can never do is lock the host by the door, or name a source whose channel, session or address it was not
told of; the authority knows whose session is whose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tlsrt.budget import BUDGETS, budget_of
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind

ROWS_MAX = 64  # of one report
TEXT_MAX = 128
OVER_BUDGET = "over_budget"
_KINDS = {str(kind): kind for kind in (SourceKind.SESSION, SourceKind.CHANNEL, SourceKind.ADDRESS)}

# The gate's refusals. What is not here is the shape of a frame.
_OF_GATE = {
    "replay": "replay",
    "proof_forged": "bad_tag", "token_forged": "bad_tag",
    "token_signature": "forged_signature",
    "foreign_session": "foreign_token", "session_elsewhere": "foreign_token", "session_not_granted": "foreign_token",
    "wrong_certificate": "foreign_token", "wrong_session": "foreign_token", "wrong_source": "foreign_token",
    "token_install": "foreign_token",
    "revoked": "revoked",
    "token_expired": "expired", "token_not_yet": "expired",
    "not_allowed": "policy",
    "stale_epoch": "old_epoch", "token_epoch": "old_epoch", "token_boot": "old_epoch", "wrong_epoch": "old_epoch",
    "token_key_version": "old_epoch",
    "oversize": "oversize",
    "too_many_signatures": "token_grinding",
}  # fmt: skip
# The door's words.
_OF_DOOR = {
    "no_certificate": "bad_certificate", "refused_rejected": "bad_certificate",
    **dict.fromkeys(("hello_timeout", "handshake_timeout", "opening_timeout", "timeout"), "half_open"),
    "too_many_from_address": "door_flood", "too_fast_from_address": "door_flood",
    "too_many_refused": "flood",
    **dict.fromkeys(
        ("no_tls", "no_protocol", "no_group", "no_suite", "old_version", "bad_versions", "empty_record",
         "handshake_too_long"),
        "tls_garbage",
    ),
    "too_fast_stranger": "door_flood",
    "not_enrolled": "enrolment", "enrol_twice": "door_protocol", "renew_twice": "door_protocol",
    **dict.fromkeys(
        ("bad_length", "oversize", "not_msgpack", "not_a_message", "unknown_message", "wrong_direction", "bad_fields",
         "http_too_far_ahead", "http_after_end"),
        "door_protocol",
    ),
}  # fmt: skip
# What happens to innocent peers: load, restarts, late answers, clocks, a door that is full or shut.
_INNOCENT = frozenset({
    "busy", "unavailable", "no_open_call", "not_attested", "unsynchronised", "deadline", "deadline_too_far",
    "stale_gate", "stale_mailbox", "blocked", "slow_reader", "crowded_out", "no_descriptors", "too_many_connections",
    "too_many_unauthenticated", "refused_busy", "refused_unavailable", "refused_locked",
})  # fmt: skip


class GateReport(NamedTuple):
    """The signals of one detector from one source, and how often since the last report."""

    source: SignalSource
    detector: str
    times: int
    what: str


def is_signal(word: str) -> bool:
    """Tell whether a reason of the gate or the door is a signal. Load, restarts and clocks are not."""
    return word not in _INNOCENT


def detector_for(kind: SourceKind, word: str) -> str:
    """Return the detector of a reason; "" if it is no signal."""
    if not is_signal(word):
        return ""
    if budget_of(word):
        return OVER_BUDGET
    if word.startswith("tls_"):
        return "bad_certificate" if "certificate" in word else "tls_garbage"
    if "_while_" in word:  # a message that the stage of the connection does not list
        return "door_protocol"
    if kind is SourceKind.ADDRESS or word.startswith("http_"):
        return _OF_DOOR.get(word, "")  # connections end for many reasons: only what is known to be an offence is one
    return _OF_GATE.get(word) or ("flood" if word == "too_many_refused" else "shape")


def gate_reports_untrusted(rows: Sequence[Any]) -> list[GateReport]:
    """Return the reports in a message of Primary; raise PeerError if it is none."""
    if len(rows) > ROWS_MAX:
        raise PeerError("bad_offences")
    found: list[GateReport] = []
    for row in rows:
        match row:
            case [str(kind), str(value), str(word), int(count), str(about)] if (
                kind in _KINDS and 0 < count < 1 << 32 and max(len(value), len(word), len(about)) <= TEXT_MAX
            ):
                detector = detector_for(_KINDS[kind], word)
                if detector:
                    budget = budget_of(word)
                    what = BUDGETS[budget] if budget else f"{word} {about}" if about else word
                    found.append(GateReport(SignalSource(_KINDS[kind], value), detector, count, what))
            case _:
                raise PeerError("bad_offences")
    return found
