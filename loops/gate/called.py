"""What was really called through the gate, and what was refused: a count for each caller, component and method. Pure.

A caller may make up methods, so each has a share of the places; what has none is counted together. A place is kept for
the life of the gate: that something was never used is said of all of that life, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tlsrt.bounded_table import BoundedTable, WhenFull

MOST, SHARE = 2048, 256  # of all callers, and of one
NAME_MAX = 80  # characters of a method; a longer one has no place


class CallCount:
    """How often one caller has called one method, and was refused it by policy."""

    __slots__ = ("calls", "refused")

    def __init__(self) -> None:
        self.calls = 0  # the fast path counts here itself
        self.refused = 0


class CalledMethod(NamedTuple):
    """One place, as it is told."""

    source: str
    target: str
    method: str
    calls: int
    refused: int


class CalledMethods:
    """The counts of one gate."""

    def __init__(self) -> None:
        self._table: BoundedTable[tuple[str, str, str], CallCount] = BoundedTable(MOST, SHARE, WhenFull.REFUSE)
        self.rest = CallCount()  # of all that has no place

    def count_of(self, source: str, target: str, method: str) -> CallCount:
        """Return where to count; of a caller that is authentic, to anything that it may have made up."""
        key = (source, target, method)
        row = self._table.get(key)
        if row is not None:
            return row.value
        count = CallCount()
        if max(len(target), len(method)) <= NAME_MAX and self._table.add(key, count, source).is_added:
            return count
        return self.rest

    def __iter__(self) -> Iterator[CalledMethod]:
        for row in self._table:
            yield CalledMethod(*row.key, row.value.calls, row.value.refused)
