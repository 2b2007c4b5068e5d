"""Idempotency keys of HTTP clients: where each was used first. Pure; times are BOOTTIME, ms.

A recipient runs a key once and remembers its answer, and forgets both when its process ends. A client that holds its
own session remembers to which incarnation it sent a key first, so that another one does not run it again. An HTTP
client cannot: each of its requests is a call of its own. So Primary remembers for it, by client, method and key.
"""

from __future__ import annotations

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.channels.calls.retry import FirstUse
from tlsrt.errors import Busy

KEYS_MAX = 32_768
KEYS_OF = KEYS_MAX // 4  # of one client
KEPT = KEYS_MAX // 2  # so many stay when no repetition has to be known any more
SLACK_MS = 5_000  # after the deadline of the last call with a key, as at the recipient

Key = tuple[str, str, str, str]  # subject, target, method, idempotency key


class IdempotencyKeys:
    """The keys of all HTTP clients."""

    def __init__(self) -> None:
        self._uses: BoundedTable[Key, FirstUse] = BoundedTable(KEYS_MAX, KEYS_OF, WhenFull.REFUSE)

    def __len__(self) -> int:
        return len(self._uses)

    def first_use(self, key: Key, deadline: int, now: int) -> FirstUse:
        """Return what is known of a key, for a call that ends at `deadline`. Raises Busy without room for one more."""
        row = self._uses.get(key)
        if row is not None:
            self._uses.touch(key, max(row.expires, deadline + SLACK_MS))
            return row.value
        if len(self._uses) >= KEYS_MAX:
            self._uses.expire(now, keep=KEPT)
        use = FirstUse()
        if not self._uses.add(key, use, key[0], now, expires=deadline + SLACK_MS).is_added:
            raise Busy("too many idempotency keys are to be remembered; the request was not executed")
        return use
