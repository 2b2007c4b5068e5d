"""Questions that are being answered at once: so many, and so many of one caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tlsrt import BoundedTable, Busy, WhenFull

MOST, SHARE = 12, 4  # the search takes 16 calls of a component


class Questions:
    """Those of one component."""

    def __init__(self) -> None:
        self._open: BoundedTable[object, None] = BoundedTable(MOST, SHARE, WhenFull.REFUSE)

    @contextmanager
    def asked_by(self, caller: str) -> Iterator[None]:
        """Count one until it is answered. Raises Busy if there are too many."""
        question = object()
        if not self._open.add(question, None, caller).is_added:
            raise Busy(f"{SHARE} questions of one caller, or {MOST} of all, are being answered: try again later")
        try:
            yield
        finally:
            self._open.remove(question)
