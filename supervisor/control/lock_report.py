"""The lock as a document. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tlsrt.supervisor.messages.lock_record import LockRecord

Document = dict[str, Any]


def document_of(record: LockRecord, *, is_stored: bool) -> Document:
    """Return a lock as plain values."""
    since = datetime.fromtimestamp(record.since / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "id": record.lock.hex(), "reason": record.reason, "by": record.by, "since": since, "stored": is_stored
    }  # fmt: skip
