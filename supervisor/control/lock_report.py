"""The lock as people read it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tlsrt.supervisor.messages.lock_record import LockRecord
from tlsrt.text import printable

Document = dict[str, Any]
_NOT_STORED = "it is not on the disk yet, so it would not survive a restart of this machine: make room there"


def document_of(record: LockRecord, *, is_stored: bool) -> Document:
    """Return a lock as plain values."""
    since = datetime.fromtimestamp(record.since / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "id": record.lock.hex(), "reason": record.reason, "by": record.by, "since": since, "stored": is_stored
    }  # fmt: skip


def lock_lines(lock: Document | None) -> list[str]:
    """Return what `status` says of it; nothing if the host is not locked."""
    if lock is None:
        return []
    lines = [f"LOCKED by {printable(lock['by'])} since {lock['since']}: {printable(lock['reason'])}"]
    lines.append("nobody has a session until `tlsrt-supervisor unlock`")
    return [*lines, *([] if lock["stored"] else [_NOT_STORED]), ""]
