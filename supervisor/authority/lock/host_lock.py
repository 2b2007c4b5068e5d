"""The lock of the whole host, and the operator's `lock` and `unlock`. Pure.

A lock is in force in the moment in which it is engaged. The supervisor is told first, and replaces Primary by a fresh
process; all sessions end, at every verifier, and the epoch with them, without grace; then the state is written, and
only then the requester is answered. A disk that refuses delays nothing: it is told, and written later. From then on no
session is opened, and Primary gets the door's certificate and no key.

To unlock goes the other way round: it is recorded and written first, and whatever fails there leaves the host locked.
Then the epoch moves, the components get sessions of it, and Primary is replaced again: no process that has served a
locked door ever gets a key.

`is_gate_over` is the moment between: the process at the other end of Primary's channel belongs to the state before. It
is not read from, and gets nothing, until the supervisor has brought the next one. An authority that is told of a lock
as it comes again has no such moment: the supervisor has replaced Primary before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import LockMessage, UnlockMessage
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.model.context import NOT_WRITTEN, AuthorityContext, Undo
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import PROMPT, Service, SupervisorHandler
from tlsrt.supervisor.authority.model.state_writer import RETRY_MS
from tlsrt.supervisor.authority.sessions.revocation import stored_code
from tlsrt.supervisor.messages.lock_record import LOCK_BYTES, UNLOCKED, LockRecord, new_record
from tlsrt.supervisor.messages.result_codes import ResultCode

NOT_LOCKED = "the host is not locked"
ANOTHER = "the host is not locked by this lock any more"
_UNWRITTEN = "the authority's state cannot be written, so the host stays locked: make room on its disk"

Done = Callable[[str], None]  # with a sentence that says why not, or with nothing


class HostLockOwner(Protocol):
    """What ends and begins everything with the lock."""

    def lock_down(self, moment: Moment) -> None:
        """End all sessions and the epoch."""

    def open_up(self, moment: Moment) -> None:
        """Begin anew."""


class HostLock(Service):
    """The lock."""

    def __init__(self, context: AuthorityContext, door: DoorChange, owner: HostLockOwner) -> None:
        self._context = context
        self._loops = context.loops
        self._state = context.state
        self._writer = context.writer
        self._outgoing = context.outgoing
        self._door = door
        self._owner = owner
        self._told_epoch = 0
        self._stored = self._state.lock  # the one that the supervisor knows to be on the disk
        self._storing: LockRecord | None = None  # the one whose writing is waited for
        self._store_at = 0  # when `tick` may ask again
        self.is_gate_over = False
        self._unlocking: list[LockRecord] = []  # the lock that is to end, once for each unlock that waits

    @property
    def record(self) -> LockRecord | None:
        return self._state.lock

    @property
    def is_locked(self) -> bool:
        return self._state.lock is not None

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"lock": self._on_lock, "unlock": self._on_unlock}

    def _on_lock(self, message: LockMessage, moment: Moment) -> None:
        """Lock with the id that the supervisor has chosen; answer whether that is persisted."""
        record = LockRecord(message.lock, message.reason, message.by, message.since)
        self.lock(record, moment)
        self._writer.keep(
            moment.now, lambda is_stored: self._context.answer(message.number, stored_code(is_stored=is_stored), [])
        )

    def _on_unlock(self, message: UnlockMessage, moment: Moment) -> None:
        def done(problem: str) -> None:
            code = ResultCode.REFUSED if problem == NOT_LOCKED else ResultCode.UNCHANGED if problem else ResultCode.DONE
            self._context.answer(message.number, code, [problem] if problem else [])

        self.unlock(b"", message.by, moment, done)

    def engage(self, reason: str, by: str, moment: Moment) -> None:
        """Lock; nothing if it is locked already."""
        self.lock(new_record(self._context.randomness(LOCK_BYTES), reason, by, moment.wall), moment)

    def lock(self, record: LockRecord, moment: Moment) -> None:
        """Lock as this says, or leave the lock that there is. It is written until it is persisted.

        While an unlock waits for the disk, this lock takes the place of the one that it ends, so that it ends nothing.
        """
        if self.is_locked and not any(each is self._state.lock for each in self._unlocking):
            self._tell_state()
            return
        self._state.lock = record
        self._replace_gate(is_over=self.is_gate_over or self._loops[GATE].has_door)  # else it was told nothing
        self._outgoing.log(f"locked by {record.by}: {record.reason}")
        self._owner.lock_down(moment)
        self._store(record, moment)
        detail: dict[str, str | int] = {"lock": record.lock.hex(), "reason": record.reason}
        self._context.recorder.before("locked", record.by, detail, moment, lambda: None, self._not_recorded, PROMPT)

    def _store(self, record: LockRecord, moment: Moment) -> None:
        """Tell the supervisor when the lock is on the disk; `tick` asks again if that takes long."""

        def kept(is_stored: bool) -> None:
            if self._storing is record:
                self._storing = None
            if not is_stored:
                self._store_at = self._context.now + RETRY_MS
            elif self._state.lock is record:
                self._stored = record
                self._outgoing.tell("lock_stored", record.lock)

        self._storing = record
        self._writer.keep(moment.now, kept)

    def unlock(self, lock: bytes, by: str, moment: Moment, done: Done) -> None:
        """End the lock of this id, or any if none is named; `done` is told when, or why not."""
        record = self._state.lock
        if record is None or (lock and lock != record.lock):
            done(NOT_LOCKED if record is None else ANOTHER)
            return

        def change() -> Undo:
            if self._state.lock is not record:
                raise NotFound(ANOTHER)
            self._state.lock = None
            return undo

        def refused(code: ResultCode, sentence: str) -> None:
            self._unlocking.remove(record)
            done(_UNWRITTEN if sentence == NOT_WRITTEN else sentence)

        def undo() -> None:
            self._state.lock = record

        def unlocked() -> None:
            moment = self._context.moment()
            self._unlocking.remove(record)
            self._replace_gate(is_over=True)
            self._outgoing.log(f"unlocked by {by}")
            self._context.notes.note("unlocked", "host", f"by {by}", lock=record.lock.hex())
            self._owner.open_up(moment)
            done("")

        self._unlocking.append(record)
        self._context.transact("unlocked", by, {"lock": record.lock.hex()}, moment, change, unlocked, refused)

    def gate_spawned(self) -> None:
        """Read from Primary again: it is a process of the present state."""
        self.is_gate_over = False

    def provision_gate(self, entry: LoopEntry, now: int) -> None:
        """Tell Primary that the host is locked, and what the door serves with; it gets nothing else."""
        entry.wants_keys, entry.is_shut, entry.provisioned = False, True, now
        self._send_locked()
        if entry is self._loops.with_door:  # else it has its files, locked or not
            self._door.send()

    def tick(self, moment: Moment) -> None:
        """Tell the locked Primary of a new epoch: the supervisor asks every loop for its epoch."""
        if self.is_locked and self._loops[GATE].is_shut and self._told_epoch != self._context.epochs.current:
            self._send_locked()
        record = self._unstored()
        if record is not None and moment.now >= self._store_at:
            self._store(record, moment)

    def next_due(self) -> int | None:
        return None if self._unstored() is None else self._store_at

    def _unstored(self) -> LockRecord | None:
        """Return the lock if it is not on the disk and its writing is not waited for."""
        record = self._state.lock
        return None if record is self._stored or record is self._storing else record

    def _replace_gate(self, *, is_over: bool) -> None:
        self.is_gate_over = is_over
        self._tell_state()

    def _tell_state(self) -> None:
        self._outgoing.tell("lock_state", *(self._state.lock or UNLOCKED))

    def _send_locked(self) -> None:
        issuer, record = self._context.keys.newest.issuer, self._state.lock
        if record is not None:
            self._told_epoch = self._context.epochs.current
            self._outgoing.send(GATE, "locked", issuer.install, issuer.boot, record.lock, self._told_epoch)

    def _not_recorded(self, why: str) -> None:
        self._outgoing.log(f"the lock is in force, and its record is written when the disk takes it: {why}")
