"""A table that peers fill: bounded in all and by a share for each subject. Pure.

Theory of operation. Each row belongs to a subject (a client, an address, a loop) and takes a `size`: 1 where rows are
counted, bytes where memory is. No subject holds more than its share, and all together no more than the table. What
happens to a row for which there is no room is the table's policy:

- REFUSE: the newcomer is refused, and nothing else changes;
- EVICT: the greediest subject, the one that holds most, loses its oldest row. A newcomer whose own subject would be the
  greediest loses its own; so who floods the table displaces himself, and no row of a subject that holds less.

Rows may expire. Those that have are the first to make room. A row is touched to become the newest of its subject.

Cost. A row is added, found, touched and removed in constant time, but for the expiry (a heap) and while the table is
full: then another heap knows the greediest subject. It is built when there is no room, and thrown away when half of
those rows have gone, who have paid for the next one. Entries of either heap that are no longer true are left in it
until they come up, and it is made anew when they are the majority.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections.abc import Hashable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

NEVER: Final = float("inf")
_HEAP_LEAST: Final = 64  # entries of a heap that are not worth making anew


class WhenFull(enum.Enum):
    """What happens when there is no room."""

    REFUSE = "refuse"
    EVICT = "evict"


class Row(Generic[Key, Value]):
    """One row. Change its value at will, and the rest through the table."""

    __slots__ = ("_after", "_before", "expires", "key", "size", "subject", "value")

    def __init__(self, key: Key, value: Value, subject: str, size: int, expires: float) -> None:
        self.key = key
        self.value = value
        self.subject = subject
        self.size = size
        self.expires = expires
        self._before: Row[Key, Value] | None = None  # the next older one of the same subject
        self._after: Row[Key, Value] | None = None


class Added(NamedTuple, Generic[Key, Value]):
    """Whether a row was added, and which others have made room."""

    is_added: bool
    removed: list[Row[Key, Value]]


class _Account(Generic[Key, Value]):
    """The rows of one subject, as a list that is linked through them."""

    __slots__ = ("bound", "count", "newest", "oldest", "serial", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.bound = 0  # what the one valid entry of the heap says: at least the size
        self.serial = 0  # and its number
        self.oldest: Row[Key, Value] | None = None
        self.newest: Row[Key, Value] | None = None

    def append(self, row: Row[Key, Value]) -> None:
        row._before, row._after = self.newest, None
        if self.newest is None:
            self.oldest = row
        else:
            self.newest._after = row
        self.newest = row
        self.count += 1
        self.size += row.size

    def unlink(self, row: Row[Key, Value]) -> None:
        before, after = row._before, row._after
        if before is None:
            self.oldest = after
        else:
            before._after = after
        if after is None:
            self.newest = before
        else:
            after._before = before
        row._before = row._after = None
        self.count -= 1
        self.size -= row.size


class BoundedTable(Generic[Key, Value]):
    """Rows by key, for what many callers ask for: `most` is the size of all rows, `share` that of one subject's.

        self.readers = BoundedTable(64, 16, WhenFull.REFUSE)  # of one caller 16
        if not self.readers.add(file, None, self.caller).is_added:
            raise Busy("too many files are being read, try again later")

    Times are of one clock.
    """

    def __init__(self, most: int, share: int, policy: WhenFull) -> None:
        self.most = most
        self.share = share
        self._policy = policy
        self._rows: dict[Key, Row[Key, Value]] = {}
        self._accounts: dict[str, _Account[Key, Value]] = {}
        self._expiries: list[tuple[float, int, Key]] = []
        self._greediest: list[tuple[int, int, str]] | None = None  # (-size, serial, subject), while it is needed
        self._rows_then = 0  # when it was built
        self._serial = itertools.count(1)
        self.size = 0

    # -- reading ----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Row[Key, Value]]:
        return iter(self._rows.values())

    def get(self, key: Key) -> Row[Key, Value] | None:
        """Return the row of a key, whether it has expired or not."""
        return self._rows.get(key)

    def subjects(self) -> Iterator[str]:
        return iter(self._accounts)

    def size_of(self, subject: str) -> int:
        """Return the size of all rows of a subject."""
        account = self._accounts.get(subject)
        return account.size if account else 0

    def count_of(self, subject: str) -> int:
        """Return the number of rows of a subject."""
        account = self._accounts.get(subject)
        return account.count if account else 0

    def rows_of(self, subject: str) -> list[Row[Key, Value]]:
        """Return the rows of a subject, the oldest first."""
        account = self._accounts.get(subject)
        rows, row = [], account.oldest if account else None
        while row is not None:
            rows.append(row)
            row = row._after
        return rows

    def greediest(self, at_least: int = 1) -> str:
        """Return the subject that holds most, if it holds so much at least; else ""."""
        return self._find_greediest(at_least) or ""

    # -- changing ---------------------------------------------------------------------------------------------

    def add(
        self, key: Key, value: Value, subject: str, now: float = 0, *, size: int = 1, expires: float = NEVER,
        share: int | None = None,
    ) -> Added[Key, Value]:  # fmt: skip
        """Add a row, in the place of the one with the same key. `share` replaces the table's for this subject, now.

        A row that is refused leaves the table as it was, but for rows that have expired or belong to greedier subjects.
        """
        share = self.share if share is None else min(share, self.most)
        removed: list[Row[Key, Value]] = []
        old = self._rows.get(key)
        before = old.size if old is not None and old.subject == subject else 0
        if size > share or size > self.most:
            return Added(False, removed)
        if self.size_of(subject) + size - before > share or self.size + size - (old.size if old else 0) > self.most:
            removed = self.expire(now)
            old = self._rows.get(key)
            if not self._has_room(subject, size, share, old, removed):
                return Added(False, removed)
            old = self._rows.get(key)
        if old is not None:
            self.remove(key)
        row = Row(key, value, subject, size, expires)
        self._rows[key] = row
        account = self._accounts.get(subject)
        if account is None:
            account = self._accounts[subject] = _Account()
        account.append(row)
        self.size += size
        if expires != NEVER:
            self._note_expiry(row)
        self._note_size(subject, account)
        return Added(True, removed)

    def remove(self, key: Key) -> Row[Key, Value] | None:
        """Remove a row and return it; None if there is none."""
        row = self._rows.pop(key, None)
        if row is None:
            return None
        account = self._accounts[row.subject]
        account.unlink(row)
        if not account.count:
            del self._accounts[row.subject]
        self.size -= row.size
        if self._greediest is not None and len(self._rows) * 2 <= self._rows_then:
            self._greediest = None
        return row

    def remove_subject(self, subject: str) -> list[Row[Key, Value]]:
        """Remove all rows of a subject and return them."""
        rows = self.rows_of(subject)
        for row in rows:
            self.remove(row.key)
        return rows

    def touch(self, key: Key, expires: float | None = None) -> None:
        """Make a row the newest of its subject, and set another expiry if one is given."""
        row = self._rows[key]
        account = self._accounts[row.subject]
        account.unlink(row)
        account.append(row)
        if expires is not None and expires != row.expires:
            row.expires = expires
            if expires != NEVER:
                self._note_expiry(row)

    def resize(self, key: Key, size: int, now: float = 0) -> bool:
        """Change the size of a row; False, and nothing changed, without room. Only expired rows make room for it."""
        row = self._rows[key]
        more = size - row.size
        if not self._fits(row.subject, more):
            self.expire(now)
            if key not in self._rows or not self._fits(row.subject, more):
                return False
        account = self._accounts[row.subject]
        row.size = size
        account.size += more
        self.size += more
        self._note_size(row.subject, account)
        return True

    def expire(self, now: float, *, keep: int = 0) -> list[Row[Key, Value]]:
        """Remove the rows that have expired and return them, the longest expired first. `keep` so many rows anyway."""
        removed: list[Row[Key, Value]] = []
        while len(self._rows) > keep and self._expiries and self._expiries[0][0] <= now:
            expires, _, key = heapq.heappop(self._expiries)
            row = self._rows.get(key)
            if row is not None and row.expires == expires:
                self.remove(key)
                removed.append(row)
        return removed

    # -- inside -----------------------------------------------------------------------------------------------

    def _fits(self, subject: str, more: int) -> bool:
        return self.size_of(subject) + more <= self.share and self.size + more <= self.most

    def _has_room(
        self, subject: str, size: int, share: int, old: Row[Key, Value] | None,
        removed: list[Row[Key, Value]],
    ) -> bool:  # fmt: skip
        """Make room by the policy; `old` will make some too."""
        while True:
            own = self.size_of(subject) - (old.size if old is not None and old.subject == subject else 0)
            is_over_share = own + size > share
            if not is_over_share and self.size - (old.size if old is not None else 0) + size <= self.most:
                return True
            if self._policy is WhenFull.REFUSE:
                return False
            victim = subject if is_over_share else self._find_greediest(at_least=own + size)
            if victim is None:
                victim = subject
            account = self._accounts.get(victim)
            row = account.oldest if account is not None else None
            if row is not None and row is old:  # the newcomer takes its place, or it stays
                row = row._after
            if row is None:
                return False
            self.remove(row.key)
            removed.append(row)

    def _find_greediest(self, at_least: int) -> str | None:
        """Return the subject that holds most, if it holds so much at least."""
        heap = self._greediest
        if heap is None:
            heap = self._greediest = []
            self._rows_then = len(self._rows)
            for subject, account in self._accounts.items():
                account.bound, account.serial = account.size, next(self._serial)
                heap.append((-account.bound, account.serial, subject))
            heapq.heapify(heap)
        while heap:
            bound, serial, subject = heap[0]
            found = self._accounts.get(subject)
            if found is None or found.serial != serial:
                heapq.heappop(heap)
            elif found.size == -bound:
                return subject if found.size >= at_least else None
            else:  # it has lost rows since
                found.bound = found.size
                heapq.heapreplace(heap, (-found.bound, serial, subject))
        return None

    def _note_size(self, subject: str, account: _Account[Key, Value]) -> None:
        heap = self._greediest
        if heap is None or account.size <= account.bound:
            return
        account.bound, account.serial = account.size, next(self._serial)
        heapq.heappush(heap, (-account.bound, account.serial, subject))
        if len(heap) > 2 * len(self._accounts) + _HEAP_LEAST:
            self._greediest = None

    def _note_expiry(self, row: Row[Key, Value]) -> None:
        if len(self._expiries) > 2 * len(self._rows) + _HEAP_LEAST:
            live = [each for each in self._rows.values() if each is not row and each.expires != NEVER]
            self._expiries = [(each.expires, next(self._serial), each.key) for each in live]
            heapq.heapify(self._expiries)
        heapq.heappush(self._expiries, (row.expires, next(self._serial), row.key))
