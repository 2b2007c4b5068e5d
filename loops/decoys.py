"""Decoys at the gate: who touches what nobody has a reason to touch. Pure and bounded.

The gate looks here wherever it looks up rights, and answers as it would without looking: what is no decoy and what is
one cost the same, and what follows from a touch begins after the answer has left. Its fast lane never sees a decoy
first: what it recognises has passed here before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tlsrt.config.deception import DeceptionConfig

WAITING_MAX = 64
SEEN_MAX = 1024


class Touch(NamedTuple):
    """Somebody's proven session asked for a decoy."""

    session: bytes
    target: str
    method: str


class Decoys:
    """The names, and the touches that wait to be told. The same touch of the same session is told once."""

    def __init__(self, config: DeceptionConfig | None = None) -> None:
        config = config or DeceptionConfig()
        self._components = frozenset(config.components)
        self._methods = frozenset(config.methods)
        self._trial = ""
        self._seen: set[Touch] = set()
        self._waiting: list[Touch] = []
        self.on_touch: Callable[[], None] = lambda: None  # the first of those that wait

    def try_with(self, target: str) -> None:
        """Take a name as a decoy, once: so the authority sees that it would hear of the others."""
        self._trial = target

    def look(self, session: bytes, target: str, method: str) -> None:
        """See who asks for what, after the proof that it is this session."""
        if target in self._components or (target, method) in self._methods or target == self._trial:
            self._note(Touch(session, target, method))

    def _note(self, touch: Touch) -> None:
        if touch in self._seen or len(self._waiting) >= WAITING_MAX:
            return
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen.add(touch)
        self._waiting.append(touch)
        if len(self._waiting) == 1:
            self.on_touch()

    def take(self) -> list[Touch]:
        """Return the touches that wait, and forget that they do."""
        found, self._waiting = self._waiting, []
        if any(touch.target == self._trial for touch in found):
            self._trial = ""
        return found

    def put_back(self, touches: list[Touch]) -> None:
        """They could not be told now."""
        self._waiting = (touches + self._waiting)[:WAITING_MAX]
