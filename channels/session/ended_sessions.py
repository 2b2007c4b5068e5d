"""Sessions that have ended: nothing of them is taken any more, until their last token has expired. Pure.

A recipient that forgets a session at its end forgets the numbers that it has accepted, and could be told the same frame
again for as long as a token of that session is valid. So the id alone is kept, for as long as a token lives at most: no
token is made for a session that has ended.

The ids are bounded. If there were too many, the oldest would go, and `floor` becomes the time at which they ended: from
then on a session that is not known yet is taken only with a token that was issued later, which no ended one has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from tlsrt.channels.session.token import LIFETIME_MAX_MS

ENDED_MAX = 131_072  # ids, some 12 MiB; 430 sessions may end a second, all the time


class EndedSessions:
    """The ids of sessions that have ended; times are BOOTTIME in ms."""

    def __init__(self, most: int = ENDED_MAX) -> None:
        self._most = most
        self._known: set[bytes] = set()
        self._batches: deque[tuple[int, tuple[bytes, ...]]] = deque()  # when they ended, the oldest first
        self.floor = -1

    def add(self, sessions: Collection[bytes], now: int) -> None:
        """Note that these have ended by now."""
        while self._batches and self._batches[0][0] <= now - LIFETIME_MAX_MS:
            self._known.difference_update(self._batches.popleft()[1])
        new = tuple(session for session in sessions if session not in self._known)
        if not new:
            return
        self._known.update(new)
        self._batches.append((now, new))
        while len(self._known) > self._most:
            self.floor, oldest = self._batches.popleft()
            self._known.difference_update(oldest)

    def __contains__(self, session: object) -> bool:
        return session in self._known

    def __len__(self) -> int:
        return len(self._known)
