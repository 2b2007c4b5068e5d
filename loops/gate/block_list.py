"""Block list: what is limited or blocked for a time by order of the authority. Pure.

The networks of an IPv6 /48 count as one subject: an owner of one has 65,536 addresses to be blocked by, and pushes out
no other with them.
"""

from __future__ import annotations

from tlsrt.bounded_table import BoundedTable, WhenFull

MOST = 4096  # of each kind; when there are more, the oldest of the subject with most makes room
SHARE = 4  # a limited one has a quarter of what others have
SITE_PARTS = 3  # of an IPv6 address, 16 bits each


class BlockList:
    """Names, and until when; times are of one clock, whichever."""

    def __init__(self, most: int = MOST) -> None:
        self._limited: BoundedTable[str, None] = BoundedTable(most, most, WhenFull.EVICT)
        self._blocked: BoundedTable[str, None] = BoundedTable(most, most, WhenFull.EVICT)

    def limit(self, name: str, until: float) -> None:
        _put(self._limited, name, until)

    def block(self, name: str, until: float) -> None:
        _put(self._blocked, name, until)

    def free(self, name: str) -> None:
        """End both."""
        self._limited.remove(name)
        self._blocked.remove(name)

    def is_limited(self, name: str, now: float) -> bool:
        return _holds(self._limited, name, now)

    def is_blocked(self, name: str, now: float) -> bool:
        return _holds(self._blocked, name, now)


def _put(table: BoundedTable[str, None], name: str, until: float) -> None:
    parts = name.split(":")
    table.add(name, None, ":".join(parts[:SITE_PARTS]) if len(parts) > SITE_PARTS else name, expires=until)


def _holds(table: BoundedTable[str, None], name: str, now: float) -> bool:
    row = table.get(name)
    if row is None:
        return False
    if row.expires <= now:
        table.remove(name)
        return False
    return True
