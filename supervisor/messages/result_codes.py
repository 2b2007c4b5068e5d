"""Result codes and limits of requests, for operator, supervisor and authority. Data."""

from __future__ import annotations

from enum import IntEnum

KINDS = ("session", "token", "component", "client", "loop", "all")  # that can be revoked
RESTORED_KINDS = ("component", "client", "loop")
LONGEST_MS = 10 * 366 * 24 * 3_600_000  # that a subject can be blocked for
ROWS_MAX = 128  # in one answer: with the longest names in a third of a packet


class ResultCode(IntEnum):
    """How a request went."""

    DONE = 0  # and what it changed is on the disk
    UNWRITTEN = 1  # done, but it will not survive a restart unless it can be written later
    REFUSED = 2  # nothing has changed: there is no such thing; the rows are sentences
    UNCHANGED = 3  # nothing has changed: the disk refuses; the rows are sentences
