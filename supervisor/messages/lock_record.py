"""Lock record: the id of a lock, its reason, who locked, and since when. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tlsrt.text import printable

LOCK_BYTES = 16
REASON_MAX = 200  # characters
BY_MAX = 128
UNLOCKED: tuple[bytes, str, str, int] = (b"", "", "", 0)  # how a message says that there is no lock


class LockRecord(NamedTuple):
    """One lock. `since` is wall time in ms; an unlock names the id, so that no message about another lock counts."""

    lock: bytes
    reason: str
    by: str
    since: int


def new_record(lock: bytes, reason: str, by: str, wall: int) -> LockRecord:
    """Return a lock that begins now, with words that fit into a line."""
    return LockRecord(lock, _line(reason, REASON_MAX) or "no reason was given", _line(by, BY_MAX), wall)


def record_of(fields: Sequence[Any]) -> LockRecord | None:
    """Return the lock in these fields, None for those of UNLOCKED or none at all. Raise ValueError for others."""
    if not fields or tuple(fields) == UNLOCKED:
        return None
    if [type(field) for field in fields] != [bytes, str, str, int] or len(fields[0]) != LOCK_BYTES:
        raise ValueError("this is no lock")
    return LockRecord(*fields)


def _line(text: str, longest: int) -> str:
    return printable(" ".join(text.split()), longest)
