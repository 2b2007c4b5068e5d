"""The epoch: one number for the whole trust boundary, and its two-phase change. Pure.

Phase one: everything of the next epoch is sent, every loop acknowledges (`prepared`) and is attested again by the
supervisor (`attested`). Phase two: `commit`, and senders use it. A loop that does not answer in time does not hold up
the others: the change goes on without it, and the supervisor is told who it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tlsrt.errors import InternalError

PREPARE_MS = 2_000
GRACE_MS = 5_000  # how long the epoch before stays good after a timed change
MOVE_PREPARE_MS = 5_000  # after a change of profiles, which leaves no grace: who is late is refused and restarted


@dataclass(frozen=True, slots=True)
class Commit:
    """An epoch to use from now on, and the loops that were late for it."""

    epoch: int
    unprepared: tuple[str, ...]
    unattested: tuple[str, ...]


class Epochs:
    """The committed epoch and the one being prepared, if any.

    `current` was persisted before; a restarted authority holds no sessions of it, so `issued` lists only epochs whose
    keys this authority has handed out.
    """

    def __init__(self, current: int, *, has_issued: bool) -> None:
        self.current = current
        self.pending: int | None = None
        self.grace_ms = GRACE_MS  # what the current epoch leaves to those before it
        self._has_issued = has_issued
        self._unprepared: set[str] = set()
        self._unattested: set[str] = set()
        self._next_grace_ms = GRACE_MS
        self.deadline = 0

    @property
    def target(self) -> int:
        """Return the newest epoch: that loops must be attested for."""
        return self.current if self.pending is None else self.pending

    @property
    def issued(self) -> tuple[int, ...]:
        """Return the epochs that this authority hands out keys of, the older first."""
        pending = () if self.pending is None else (self.pending,)
        return (self.current, *pending) if self._has_issued else pending

    @property
    def serving(self) -> int:
        """Return the epoch that a session opened now works in first."""
        return self.issued[0]

    def begin(
        self, epoch: int, loops: Iterable[str], now: int, *, grace_ms: int = GRACE_MS, prepare_ms: int = PREPARE_MS
    ) -> None:
        """Start phase one for these loops. `epoch` must be persisted already."""
        if epoch <= self.current or self.pending is not None:
            raise InternalError(f"epoch {epoch} cannot follow {self.target}")
        self.pending = epoch
        self._unprepared = set(loops)
        self._unattested = set(loops)
        self._next_grace_ms = grace_ms
        self.deadline = now + prepare_ms

    def add(self, loop: str, *, is_attested: bool) -> None:
        """Wait for a loop that joined during phase one, too."""
        if self.pending is not None:
            self._unprepared.add(loop)
            if not is_attested:
                self._unattested.add(loop)

    def prepared(self, loop: str, epoch: int) -> None:
        """Note an acknowledgement; one of another epoch says nothing."""
        if epoch == self.pending:
            self._unprepared.discard(loop)

    def attested(self, loop: str, epoch: int) -> None:
        """Note that a loop was attested for an epoch."""
        if self.pending is not None and epoch >= self.pending:
            self._unattested.discard(loop)

    def forget(self, loop: str) -> None:
        """Wait no longer for a loop whose process has ended."""
        self._unprepared.discard(loop)
        self._unattested.discard(loop)

    def is_ready(self, now: int) -> bool:
        """Tell whether phase two may begin: all have answered, or their time is over."""
        return self.pending is not None and (now >= self.deadline or not (self._unprepared or self._unattested))

    def commit(self, grace_ms: int | None = None) -> Commit:
        """Make the pending epoch the current one. `grace_ms` replaces the grace that `begin` was told."""
        if self.pending is None:
            raise InternalError("no epoch is being prepared")
        done = Commit(self.pending, tuple(sorted(self._unprepared)), tuple(sorted(self._unattested)))
        self.current, self.pending, self._has_issued = self.pending, None, True
        self.grace_ms = self._next_grace_ms if grace_ms is None else grace_ms
        self._unprepared, self._unattested = set(), set()
        return done
