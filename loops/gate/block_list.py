"""Block list: what is limited or blocked for a time by order of the authority. Pure."""

from __future__ import annotations

MOST = 4096  # of each kind; the one that would end first makes room
SHARE = 4  # a limited one has a quarter of what others have


class BlockList:
    """Names, and until when; times are of one clock, whichever."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._limited: dict[str, float] = {}
        self._blocked: dict[str, float] = {}

    def limit(self, name: str, until: float) -> None:
        self._put(self._limited, name, until)

    def block(self, name: str, until: float) -> None:
        self._put(self._blocked, name, until)

    def free(self, name: str) -> None:
        """End both."""
        self._limited.pop(name, None)
        self._blocked.pop(name, None)

    def is_limited(self, name: str, now: float) -> bool:
        return self._holds(self._limited, name, now)

    def is_blocked(self, name: str, now: float) -> bool:
        return self._holds(self._blocked, name, now)

    def _put(self, table: dict[str, float], name: str, until: float) -> None:
        if name not in table and len(table) >= self._most:
            del table[min(table, key=lambda each: table[each])]
        table[name] = until

    @staticmethod
    def _holds(table: dict[str, float], name: str, now: float) -> bool:
        until = table.get(name)
        if until is None:
            return False
        if until <= now:
            del table[name]
            return False
        return True
