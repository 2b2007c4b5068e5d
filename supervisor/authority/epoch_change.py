"""Epoch changes: by time, by the operator, for a change of profiles, or to end all sessions. Pure.

Every change is the two phases of `epochs.py`. The timed one and the operator's leave a grace; when the operator has
brought another master_key, it lasts until the tokens of the older version have expired. A change that only adds
leaves one, too: who had a right has it still, in the same process. Every other change of profiles leaves none. In
both the supervisor has the seal checked first (`hold`), ends what cannot live on under its new profile, and then
asks for the move. From the check to the commit no loop that joins gets keys, so that a loop under a new profile never
holds one of the old epoch. A loop that is late for an epoch is not told to use it, and its sessions are to be
revoked: `late`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.keys.epochs import GRACE_MS, MOVE_PREPARE_MS, PREPARE_MS
from tlsrt.supervisor.authority.master_key_rotation import NewKeys
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE
from tlsrt.supervisor.authority.model.state_writer import Refused, Undo
from tlsrt.supervisor.authority.sessions.key_distribution import KeyDistribution
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.authority.sessions.policy import RightsTable
from tlsrt.supervisor.process.timers import Timers

BLOCKED_MS = 5  # to look again whether the gate has read what it was told
RETRY_MS = 10_000  # after an epoch that could not be written
_CANNOT_WRITE = "the authority's state cannot be written, so nothing was changed: make room on its disk"


@dataclass(slots=True)
class PendingRotation:
    """What the operator has asked for: `epoch` is 0 until it has begun, at `began`."""

    number: int  # of the supervisor's request
    keys: NewKeys | None
    epoch: int = 0
    began: int = 0


class EpochOwner(Protocol):
    """What goes on once an epoch of before has been left."""

    def provision_all(self, now: int) -> None: ...


class EpochChanges:
    """Begins and commits epochs. Times are BOOTTIME in ms.

    `timers` has "epoch", "move", "rotate" and "commit" for it.
    """

    def __init__(
        self, context: AuthorityContext, messages: KeyMessages, clients: ClientSessions, distribution: KeyDistribution,
        timers: Timers[str], owner: EpochOwner,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = context.loops
        self._keys = context.keys
        self._messages = messages
        self._epochs = context.epochs
        self._manager = context.sessions
        self._clients = clients
        self._state = context.state
        self._writer = context.writer
        self._outgoing = context.outgoing
        self._distribution = distribution
        self._timers = timers
        self._owner = owner
        self.epoch_ms = int(context.config.limits.epoch_s * 1000)
        self.late: set[str] = set()  # for an epoch that was committed without them
        self.is_held = False  # a loop that joins gets no keys yet: they belong to the epoch of a move that is to come
        self._seal = 0  # of the token that was checked for a move
        self._rights: RightsTable | None = None  # by the policy of that state
        self._number = 0  # of the supervisor's request to move; 0: none
        self._move_epoch = 0  # the one that is being prepared for it; 0: not begun
        self._held_epoch = 0  # the one that `hold` made room for
        self._grace_ms = 0  # what the change that was checked leaves
        self._leaving: list[Callable[[int], None]] = []  # who is told when an epoch of before has been left for good
        self._rotation: PendingRotation | None = None
        self._is_writing = False  # an epoch that is to begin
        self._is_holding = False  # the one that `hold` makes room for
        self._overlap_until = 0  # when the last token of the key version before has expired

    def hold(
        self,
        seal: int,
        rights: RightsTable | None,
        done: Callable[[], None],
        refused: Refused,
        *,
        only_adds: bool = False,
    ) -> None:
        """Make room for a move, from whose epoch on these rights hold; then call `done`.

        One that `only_adds` leaves the grace of a timed change: it takes no right from anybody, and ends no process.

        That epoch is persisted, and from then until it is committed no loop that joins gets keys. When the disk
        refuses, nothing has changed. The seal number is written with the epoch, once the supervisor has taken the
        new state: before, an authority that comes again is shown the old token.
        """

        self._is_holding = True

        def held() -> None:
            self._is_holding = False
            self.is_held, self._seal, self._rights = True, seal, rights
            self._grace_ms = GRACE_MS if only_adds else 0
            self._held_epoch = self._state.epoch
            done()

        def failed(sentence: str) -> None:
            self._is_holding = False
            refused(sentence)
            self._resume()

        self._writer.change(self._advance, held, failed, self._context.now)

    def move(self, number: int, now: int) -> None:
        """Change to the epoch of a reload, without grace unless it only adds; `moved` says when it is done."""
        self._number = number
        if not self._is_under_way:
            self.begin_move(now)

    def leave(self, now: int, done: Callable[[int], None]) -> None:
        """Change to an epoch that leaves no grace, because all sessions were revoked. `done` is told which one."""
        self._leaving.append(done)
        if not self._is_under_way and not self.is_held:
            self.begin_move(now)

    def begin_timed(self, now: int) -> None:
        """Change the epoch because its time is over."""
        if self._is_under_way or self.is_held:
            self._timers.set("epoch", max(self._epochs.deadline, now + PREPARE_MS) + 1)
            return

        def begun() -> None:
            self._timers.set("epoch", self._context.now + self.epoch_ms)
            self._begin(GRACE_MS, PREPARE_MS)

        self._write(self._advance, begun, lambda sentence: self._timers.set("epoch", self._context.now + RETRY_MS))

    def rotate(self, number: int, keys: NewKeys | None, now: int) -> None:
        """Change the epoch as soon as no other change is under way. `rotated` with this number says when it is done.

        `keys` are those of another master_key, which is in force from this epoch on.
        """
        waiting = self._rotation
        if waiting is not None and not waiting.epoch and waiting.keys is not None and keys is None:
            waiting.number = number  # its keys are in force from the next epoch on in any case
        else:
            self._rotation = PendingRotation(number, keys)
        self.begin_rotation(now)

    def begin_rotation(self, now: int) -> None:
        """Begin the rotation that was asked for, if there is one and its turn has come.

        When the disk refuses, one that brings keys is tried again later: there is no way back from those.
        """
        rotation = self._rotation
        if rotation is None or rotation.epoch or self._is_under_way or self.is_held:
            return

        def begun() -> None:
            rotation.epoch, rotation.began = self._state.epoch, self._context.now
            if rotation.keys is not None:
                self._keys.take(rotation.epoch, rotation.keys.keys)
            self._timers.set("epoch", self._context.now + self.epoch_ms)
            self._begin(GRACE_MS, PREPARE_MS)
            self.commit_if_ready(self._context.now)

        def refused(sentence: str) -> None:
            if rotation.keys is not None:
                self._timers.set("rotate", self._context.now + RETRY_MS)
                return
            if self._rotation is rotation:
                self._rotation = None
            self._outgoing.tell("rotated", rotation.number, 0, 0, [], [_CANNOT_WRITE])

        self._write(lambda: self._advance(rotation.keys), begun, refused)

    def overlap_ms(self, now: int) -> int:
        """Return for how long tokens of the key version before still verify."""
        return max(0, self._overlap_until - now)

    def tell_keys(self, now: int) -> None:
        """Tell the supervisor, for people, which version of master_key is in force."""
        self._outgoing.tell("keys", self._keys.newest.issuer.key_version, self.overlap_ms(now))

    @property
    def _is_under_way(self) -> bool:
        """Tell whether an epoch is being prepared, or written to be."""
        return self._epochs.pending is not None or self._is_writing or self._is_holding

    def _advance(self, keys: NewKeys | None = None) -> Undo:
        """Take the next epoch, with the version of other keys, into the state; return what undoes it."""
        state = self._state
        before = (state.epoch, state.key_version, state.seal, state.succession)
        state.epoch += 1
        if keys is not None:
            state.key_version = keys.keys.issuer.key_version
            state.seal, state.succession = max(state.seal, keys.seal), keys.succession

        def undo() -> None:
            state.epoch, state.key_version, state.seal, state.succession = before

        return undo

    def _write(self, advance: Callable[[], Undo], begun: Callable[[], None], refused: Refused) -> None:
        """Have an epoch written, and no other meanwhile; then begin it."""
        self._is_writing = True

        def done() -> None:
            self._is_writing = False
            begun()

        def failed(sentence: str) -> None:
            self._is_writing = False
            refused(sentence)
            self._resume()

        self._writer.change(advance, done, failed, self._context.now)

    def _resume(self) -> None:
        """Begin what has waited for an epoch that could not be written."""
        if self._number or (self._leaving and not self.is_held):
            self._timers.set("move", self._context.now + RETRY_MS)
        if self._rotation is not None and not self._rotation.epoch:
            self._timers.set("rotate", self._context.now + RETRY_MS)

    def begin_move(self, now: int) -> None:
        """Begin the move that was asked for. When the disk refuses, again later: without its epoch nothing goes on."""
        if self._is_under_way:  # it goes on when that one has been committed
            return

        def advance() -> Undo:
            state, before = self._state, (self._state.epoch, self._state.seal)
            if state.epoch <= self._epochs.target:  # an authority that came again has none on the disk for it
                state.epoch += 1
            state.seal = max(state.seal, self._seal)

            def undo() -> None:
                state.epoch, state.seal = before

            return undo

        def begun() -> None:
            self.is_held, self._move_epoch = True, self._state.epoch
            if self._rights is not None:
                self._messages.take(self._move_epoch, self._rights)
                self._rights = None
            self._begin(0 if self._leaving else self._grace_ms, MOVE_PREPARE_MS)
            self.commit_if_ready(self._context.now)

        self._write(advance, begun, lambda sentence: self._timers.set("move", self._context.now + RETRY_MS))

    def _begin(self, grace_ms: int, prepare_ms: int) -> None:
        now = self._context.now
        epoch, joined = self._state.epoch, self._loops.joined
        loops = [entry.loop for entry in joined]
        self._epochs.begin(epoch, loops, now, grace_ms=grace_ms, prepare_ms=prepare_ms)
        for entry in joined:
            self._distribution.send_epoch(entry, epoch)
            self._outgoing.send(entry.loop, "prepare", epoch)
        # A risen epoch asks the supervisor to look at every loop again.
        self._outgoing.tell("beat", 0, epoch, self._manager.counts())

    def commit_if_ready(self, now: int) -> None:
        """Commit the pending epoch, if there is one and all have answered or are late."""
        if self._epochs.pending is not None:
            self._timers.set("commit", self._epochs.deadline)
        if not self._epochs.is_ready(now):
            return
        if self._outgoing.is_blocked(GATE) and now < self._epochs.deadline:
            # Which loops are attested must be on its way to the gate before the epoch is used.
            self._timers.set("commit", now + BLOCKED_MS)
            return
        target = self._epochs.target
        is_rekeyed = self._messages.key_version(target) != self._messages.key_version(self._epochs.serving)
        if self._leaving and target == self._move_epoch:  # those were revoked after it had begun
            done = self._epochs.commit(0)
        else:
            done = self._epochs.commit(self._longest_lease(now) if is_rekeyed else None)
        self._timers.cancel("commit")
        for word, loops in (("unprepared", done.unprepared), ("unattested", done.unattested)):
            for loop in loops:
                self._outgoing.tell("event", word, f"{loop}: not ready for epoch {done.epoch} in time")
        self.late.update(done.unprepared, done.unattested)
        for session in self._manager:
            for epoch in [epoch for epoch in session.tokens if epoch < done.epoch]:
                del session.tokens[epoch]
        for entry in self._loops.joined:
            if entry.loop not in self.late:
                self._outgoing.send(entry.loop, "commit", done.epoch, self._epochs.grace_ms)
        self._keys.forget_before(done.epoch)
        if is_rekeyed:
            self._distribution.send_succession(self._state.key_version)
        self._clients.push_all()
        self._end_overlap(now, is_rekeyed=is_rekeyed)
        if self._rotation is not None and self._rotation.epoch == done.epoch:
            late = sorted({*done.unprepared, *done.unattested})
            self._outgoing.tell("rotated", self._rotation.number, done.epoch, now - self._rotation.began, late, [])
            self._rotation = None
        if self._number or self._leaving:
            self._go_on(done.epoch, now)
        self.begin_rotation(now)

    def _longest_lease(self, now: int) -> int:
        """Return in how many ms the last token has expired that was issued until now."""
        return max(GRACE_MS, *(session.expires - now for session in self._manager), 0)

    def _end_overlap(self, now: int, *, is_rekeyed: bool) -> None:
        until = now + self._epochs.grace_ms
        if is_rekeyed or self._overlap_until > until:
            self._overlap_until = until
            self.tell_keys(now)

    def _go_on(self, epoch: int, now: int) -> None:
        if epoch != self._move_epoch:  # that was another change, which was under way
            self.begin_move(now)
            return
        leaving, self._leaving = self._leaving, []
        for tell in leaving:
            tell(epoch)
        if self._held_epoch > epoch:  # a change of profiles was checked meanwhile: its epoch is to come
            self._move_epoch = 0
            if self._number:
                self.begin_move(now)
            return
        if self._number:
            self._outgoing.tell("moved", self._number, epoch)
        self.is_held, self._seal, self._number, self._move_epoch, self._grace_ms = False, 0, 0, 0, 0
        self._owner.provision_all(now)
