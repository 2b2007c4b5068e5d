"""The lock of the whole host, as the authority keeps it. No descriptor is touched here.

A lock is in force in the moment in which it is engaged. The supervisor is told first, and replaces Primary by a fresh
process; all sessions end, at every verifier, and the epoch with them, without grace; then the state is written, and
only then whoever asked is told. A disk that refuses delays nothing: it is said, and written later. From then on
nobody gets a session, and Primary gets the door's certificate and no key.

To unlock goes the other way round: it is recorded and written first, and whatever is in the way of that leaves the host
locked. Then the epoch moves, the components get sessions of it, and Primary is replaced again: no process that has
served a locked door ever gets a key.

`is_gate_over` is the moment between: the process at the other end of Primary's channel belongs to the state before. It
is not listened to, and gets nothing, until the supervisor has brought the next one. An authority that is told of a lock
as it comes again has no such moment: the supervisor has replaced Primary before.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.keys.epochs import Epochs
from tlsrt.supervisor.authority.keys.key_ring import KeyRing
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry, LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.services import NoRecorder, Recorder
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes
from tlsrt.supervisor.messages.lock_record import LOCK_BYTES, UNLOCKED, LockRecord, new_record

NOT_LOCKED = "the host is not locked"
ANOTHER = "the host is not locked by this lock any more"
_UNWRITTEN = "the authority's state cannot be written, so the host stays locked: make room on its disk"

Done = Callable[[str], None]  # with a sentence that says why not, or with nothing


class HostLock:
    """The lock. Times are BOOTTIME in ms, but for `wall`.

    `on_locked` ends all sessions and the epoch, and tells whether all is on the disk; `on_unlocked` begins anew.
    """

    def __init__(
        self, roster: LoopTable, ring: KeyRing, epochs: Epochs, door: DoorChange, state: AuthorityState,
        persist: Callable[[], bool], outlet: Outgoing, randomness: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._roster = roster
        self._ring = ring
        self._epochs = epochs
        self._door = door
        self._state = state
        self._persist = persist
        self._outlet = outlet
        self._randomness = randomness
        self._told_epoch = 0
        self.is_gate_over = False
        self.notes = EventNotes()
        self.audit: Callable[[], Recorder] = NoRecorder
        self.on_locked: Callable[[int, int], bool] = lambda now, wall: False
        self.on_unlocked: Callable[[int, int], None] = lambda now, wall: None

    @property
    def record(self) -> LockRecord | None:
        return self._state.lock

    @property
    def is_locked(self) -> bool:
        return self._state.lock is not None

    def engage(self, reason: str, by: str, now: int, wall: int) -> None:
        """Lock; nothing if it is locked already."""
        self.lock(new_record(self._randomness(LOCK_BYTES), reason, by, wall), now, wall)

    def lock(self, record: LockRecord, now: int, wall: int) -> bool:
        """Lock as this says, or leave the lock that there is; return whether it is on the disk."""
        if self.is_locked:
            self._say_state()
            return self._persist()
        self._state.lock = record
        self._replace_gate(is_over=self.is_gate_over or self._roster[GATE].has_door)  # else it was told nothing
        self._outlet.log(f"locked by {record.by}: {record.reason}")
        is_stored = self.on_locked(now, wall)
        detail: dict[str, str | int] = {"lock": record.lock.hex(), "reason": record.reason, "stored": int(is_stored)}
        self.audit().before("locked", record.by, detail, now, wall, lambda: None, self._not_recorded)
        return is_stored

    def unlock(self, lock: bytes, by: str, now: int, wall: int, done: Done) -> None:
        """End the lock of this id, or whichever it is if none is named; `done` hears when, or why not."""
        record = self._state.lock
        if record is None or (lock and lock != record.lock):
            done(NOT_LOCKED if record is None else ANOTHER)
            return
        detail = {"lock": record.lock.hex()}
        self.audit().before(
            "unlocked", by, detail, now, wall, lambda: self._unlock(record, by, now, wall, done), done
        )  # fmt: skip

    def gate_born(self) -> None:
        """Listen to Primary again: it is a process of the present state."""
        self.is_gate_over = False

    def brief_gate(self, member: LoopEntry, now: int) -> None:
        """Tell Primary that the host is locked, and what the door serves with; it gets nothing else."""
        member.wants_keys, member.is_shut, member.briefed = False, True, now
        self._say_locked()
        self._door.brief()

    def next_due(self) -> int | None:
        """Nothing here has a time of its own."""
        return None

    def tick(self, now: int, wall: int) -> None:
        """Tell the locked Primary of an epoch that has come, since the supervisor asks every loop for its epoch."""
        if self.is_locked and self._roster[GATE].is_shut and self._told_epoch != self._epochs.current:
            self._say_locked()

    def _unlock(self, record: LockRecord, by: str, now: int, wall: int, done: Done) -> None:
        if self._state.lock is not record:
            done(ANOTHER)
            return
        self._state.lock = None
        if not self._persist():
            self._state.lock = record
            self._persist()  # a write that failed may have come half way
            done(_UNWRITTEN)
            return
        self._replace_gate(is_over=True)
        self._outlet.log(f"unlocked by {by}")
        self.notes.note("unlocked", "host", f"by {by}", lock=record.lock.hex())
        self.on_unlocked(now, wall)
        done("")

    def _replace_gate(self, *, is_over: bool) -> None:
        self.is_gate_over = is_over
        self._say_state()

    def _say_state(self) -> None:
        self._outlet.tell("lock_state", *(self._state.lock or UNLOCKED))

    def _say_locked(self) -> None:
        issuer, record = self._ring.newest.issuer, self._state.lock
        if record is not None:
            self._told_epoch = self._epochs.current
            self._outlet.send(GATE, "locked", issuer.install, issuer.boot, record.lock, self._told_epoch)

    def _not_recorded(self, why: str) -> None:
        self._outlet.log(f"the lock is in force, but could not be recorded: {why}")
