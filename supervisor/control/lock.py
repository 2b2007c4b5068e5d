"""What the supervisor knows of the lock of the host, and the Primary that fits it.

The authority keeps the lock; the supervisor remembers it, so that no authority that comes again forgets one that could
not be written, and it is in force even while there is no authority. Whenever the host is locked or unlocked, Primary is
followed by a fresh process: killed at once for a lock, since it may be the reason for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsrt.supervisor.control.lock_report import Document, document_of
from tlsrt.supervisor.messages.lock_record import LockRecord, record_of
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, MessageHandler
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.states import LoopEvent

HOST = "host"


class LockWatch(Feature):
    """The lock of one life of the supervisor."""

    def __init__(self, context: Context, loops: Loops, restarter: Restarter, authority: AuthorityProcess) -> None:
        self._context = context
        self._loops = loops
        self._restarter = restarter
        self._authority = authority
        self._asked = b""  # the id of a lock of ours that the authority has not confirmed
        self._told: LockRecord | None = None  # by the authority that boots
        self._has_booted = False  # an authority of this life
        self.record: LockRecord | None = None

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"lock_state": self._heard}

    def lock(self, record: LockRecord) -> None:
        """Lock the host now; the authority is told by whoever calls this, or when it is there."""
        self._asked = record.lock
        self._begin(record)

    def authority_booted(self) -> None:
        """Tell an authority of a lock that it does not know, before it hears of any loop."""
        if self.record is not None and self._told is None:
            self._asked = self.record.lock
            self._authority.client.lock(*self.record)
        self._has_booted, self._told = True, None

    def authority_lost(self) -> None:
        self._told = None

    def document(self) -> Document | None:
        """Return the lock for status."""
        if self.record is None:
            return None
        return document_of(self.record, is_stored=not (self._authority.unwritten or self._asked))

    def _heard(self, fields: Sequence[Any]) -> None:
        record = record_of(fields)
        if record is not None:
            self._asked = b""
        if not self._authority.is_booted:
            self._told = record
            if record is not None and not self._has_booted:  # Primary has got nothing yet from anybody
                self._know(record)
                return
        if record is None:
            if self.record is not None and not self._asked:
                self._end()
            return  # or it was said before the authority heard of our lock
        if self.record is None or self.record.lock != record.lock:
            self._begin(record)

    def _know(self, record: LockRecord | None) -> None:
        self.record = record
        self._loops.set_locked(record is not None)
        if record is not None:
            self._context.events.emit("locked", HOST, f"by {record.by}: {record.reason}", lock=record.lock.hex())
            self._context.console.bad(HOST, "locked", f"by {record.by}: {record.reason}")

    def _begin(self, record: LockRecord) -> None:
        is_other = self.record is not None
        self._know(record)
        primary = self._loops.all[0]
        if is_other or not primary.is_primary or not primary.is_living or self._loops.is_stopping:
            return
        self._loops.restart_policy.replace(primary.name, self._context.event_loop.now)
        self._loops.kill(primary, LoopEvent.STOP, "killed, since the host was locked", Cause.LOCK)

    def _end(self) -> None:
        self._know(None)
        self._context.console.good(HOST, "unlocked", "Primary is replaced; clients come back by themselves")
        primary = self._loops.all[0]
        if primary.is_primary and primary.is_living and not self._loops.is_stopping:
            self._loops.restart_policy.replace(primary.name, self._context.event_loop.now)
            self._restarter.look()
