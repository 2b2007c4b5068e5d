"""Hosts that a process asked for without an egress rule: a mistake in the configuration, or a scan. Pure.

A library that cannot reach its server tries again for ever, by as many addresses as the name has: that is told once for
each address and counts for nothing. Who tries many different ones is looking around: beyond a number of new ones, each
is a violation.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from tlsrt.rate_limit import Bucket

KNOWN_MOST = 256
NEW_BURST, NEW_PER_S = 16, 1 / 60  # new targets, of one process


class Wish(Enum):
    """What a target is."""

    KNOWN = "known"
    NEW = "new"
    SCAN = "scan"


class EgressWishes:
    """What one process has asked for."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._new = Bucket(NEW_BURST, NEW_PER_S)

    def judge(self, target: str, now: float) -> Wish:
        """Return what a target is, and remember it unless it is one of a scan. `now` is in seconds, monotonic."""
        if target in self._known:
            self._known.move_to_end(target)
            return Wish.KNOWN
        if not self._new.take(now):
            return Wish.SCAN
        self._known[target] = None
        if len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)
        return Wish.NEW
