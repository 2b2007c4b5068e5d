"""Kept records: what retention says again of security records before their files go. Pure.

Openings of sessions fill the log; revocations, locks, quarantine, enrolment and boots are few, and are asked for long
after. So before a file goes, its security records are written again at the end of the log, as records of the kind
`kept` that name the original's kind, sequence and time, signed with the record of the removal. They are kept again when
their turn comes, oldest last: at most a quarter of the bytes that a removal frees, so that the log stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterable

from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.record import HASH, PAIRS_MAX, LogRecord, plain_detail, read_entry_untrusted

KEPT = "kept"
SECURITY = frozenset({
    "boot", "resumed", "log_cut", "rekey", "reload", "rotate", "locked", "unlocked", "revoke", "restore", "quarantine",
    "release", "client_added", "client_changed", "client_enrolled", "client_renewed", "client_revoked", KEPT,
})  # fmt: skip
SHARE = 4  # of the bytes that go, one part may be kept


def security_records(data: bytes) -> list[LogRecord]:
    """Return the security records of a file as they are kept, in their order, up to what is no entry."""
    found: list[LogRecord] = []
    at = 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big") + 2 * HASH
        if any(data.find(mark, at, end) >= 0 for mark in _MARKS):
            try:
                entry = read_entry_untrusted(data, at)
            except PeerError:
                break
            if entry is not None and isinstance(entry.value, LogRecord) and entry.value.kind in SECURITY:
                found.append(_kept(entry.sequence, entry.value))
        at = end
    return found


def newest_within(records: Iterable[LogRecord], most: int) -> list[LogRecord]:
    """Return the last records that fit into so many bytes."""
    found: list[LogRecord] = []
    for record in reversed([*records]):
        most -= _size(record)
        if most < 0:
            break
        found.append(record)
    return found[::-1]


def _kept(sequence: int, record: LogRecord) -> LogRecord:
    if record.kind == KEPT:
        return record
    said = {"kept_kind": record.kind, "kept_sequence": sequence, "kept_at": record.wall, **dict(record.detail)}
    return LogRecord(
        record.boottime, record.wall, KEPT, record.subject, plain_detail(dict([*said.items()][:PAIRS_MAX]))
    )


def _size(record: LogRecord) -> int:
    detail = sum(len(name) + len(str(value)) + 4 for name, value in record.detail)
    return 4 + 2 * HASH + 32 + len(record.kind) + len(record.subject) + detail


_MARKS = tuple((bytes([0xA0 + len(kind)]) if len(kind) < 32 else b"") + kind.encode() for kind in SECURITY)
