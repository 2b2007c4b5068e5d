"""The last values of a topic, numbered, for subscribers that come again. Pure.

A topic is kept from its first subscriber with a position on, so what none follows costs nothing. A position names the
life of the topic and a number: another life is another process, and what its memory held is lost.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any, NamedTuple

from tlsrt.errors import InvalidArgument

KEPT = 256
UNKNOWN = -1  # how many are missing, where it cannot be told
POSITION_MAX = 96  # characters
_POSITION = re.compile(r"([0-9A-Za-z-]{1,64}):([0-9]{1,16})")


class Position(NamedTuple):
    """A place in the values of one life; `number` is of the last that was told."""

    life: str
    number: int

    def __str__(self) -> str:
        return f"{self.life}:{self.number}"


def position_untrusted(text: str) -> Position | None:
    """Return the position that a subscriber gives, None for an empty text: from now on. Raises InvalidArgument."""
    if not text:
        return None
    match = _POSITION.fullmatch(text)
    if match is None:
        raise InvalidArgument("since: expected a position of this topic, or an empty text")
    return Position(match[1], int(match[2]))


class KeptTopic:
    """The last values of one topic; `life` is a name that no other process gives."""

    def __init__(self, life: str, most: int = KEPT) -> None:
        self._life = life
        self._values: deque[Any] = deque(maxlen=most)
        self._last = 0

    @property
    def now(self) -> Position:
        """Return the position behind the last value."""
        return Position(self._life, self._last)

    def put(self, value: object) -> None:
        self._last += 1
        self._values.append(value)

    def since(self, position: Position | None) -> tuple[Position, int, list[Any]]:
        """Return where a subscriber goes on, how many it has missed (UNKNOWN: another life's), and those behind."""
        if position is None:
            return self.now, 0, []
        if position.life != self._life or position.number > self._last:
            return self.now, UNKNOWN, []
        kept_from = self._last - len(self._values)
        start = max(position.number, kept_from)
        return Position(self._life, start), start - position.number, [*self._values][start - kept_from :]
