"""Enumeration: many different forbidden requests of one subject within half a day. Pure, bounded.

A program with a mistake asks for the same thing again and again. A search for what is allowed asks for others: a few
are a mistake, more are a search, and scores that fade within minutes do not see it if it takes hours.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from zlib import crc32

WINDOW_MS = 12 * 3_600_000
FREE = 3  # different things that any subject may try
KEPT = 16  # of one: more are not needed to know that there are many
MOST = 1024  # subjects of 16 * 8 bytes and a little; the one that asked longest ago makes room
_MINUTE_MS = 60_000


class EnumerationDetector:
    """Different things by subject, each with the minute in which it was asked for last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._things: OrderedDict[str, array[int]] = OrderedDict()  # a thing: hash << 32 | minute

    def __len__(self) -> int:
        return len(self._things)

    def is_search(self, who: str, what: str, now: int) -> bool:
        """Note a thing; tell whether it is one more than the few that any subject may try. `now` in ms."""
        minute, name = now // _MINUTE_MS & 0xFFFFFFFF, crc32(what.encode())
        before = self._things.pop(who, array("Q"))
        things = [
            thing for thing in before
            if minute - (thing & 0xFFFFFFFF) <= WINDOW_MS // _MINUTE_MS and thing >> 32 != name
        ]  # fmt: skip
        is_known = any(thing >> 32 == name for thing in before)
        self._things[who] = array("Q", [*things, name << 32 | minute][-KEPT:])
        if len(self._things) > self._most:
            self._things.popitem(last=False)
        return not is_known and len(self._things[who]) > FREE

    def forget(self, who: str) -> None:
        self._things.pop(who, None)
