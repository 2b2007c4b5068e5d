"""Lines of a disk thread: one for each subject, served in turn. Pure; used by one thread.

What one subject wants of a slow disk must not be in the way of what another one wants. So each has a line of its own,
and the thread takes one operation at a time: from the line whose turn it is one thing, or, if that may be carried out
together with its like, such as changes in one transaction, also those at the heads of all lines, in turn. Within its
line everything keeps its order.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

TOGETHER = 128  # things in one operation
TOGETHER_BYTES = 1 << 20  # that they hold; one that holds more is an operation of its own


class _Place(NamedTuple, Generic[T]):
    item: T
    is_change: bool
    size: int


class DiskLines(Generic[T]):
    """What waits, by subject."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[_Place[T]]] = OrderedDict()  # the next one first
        self._last: deque[T] = deque()

    def __bool__(self) -> bool:
        return bool(self._lines or self._last)

    def add(self, subject: str, item: T, *, is_change: bool = False, size: int = 0) -> None:
        """Put something at the end of its subject's line."""
        self._lines.setdefault(subject, deque()).append(_Place(item, is_change, size))

    def add_last(self, item: T) -> None:
        """Put something behind all lines: it is taken when they are empty."""
        self._last.append(item)

    def take(self) -> list[T]:
        """Return what is done next, as one operation. Something must wait."""
        if not self._lines:
            return [self._last.popleft()]
        first = self._pop(next(iter(self._lines)))
        taken, size = [first.item], first.size
        is_more = first.is_change
        while is_more:
            is_more = False
            for subject in list(self._lines):
                head = self._lines[subject][0]
                if not head.is_change:
                    continue
                size += head.size
                if len(taken) == TOGETHER or size > TOGETHER_BYTES:
                    return taken
                taken.append(self._pop(subject).item)
                is_more = True
        return taken

    def _pop(self, subject: str) -> _Place[T]:
        line = self._lines[subject]
        place = line.popleft()
        if line:
            self._lines.move_to_end(subject)
        else:
            del self._lines[subject]
        return place
