"""The lock of the host in the supervisor, and the verbs `lock` and `unlock`.

The authority keeps the lock; the supervisor remembers it, so that no authority that comes again forgets one that could
not be persisted, and it is in force even while there is no authority. Whenever the host is locked or unlocked, Primary
is followed by a fresh process: killed at once for a lock, since it may be the reason for it.

A lock is in force here before the authority has heard of it, and its answer says whether it is persisted. An unlock is
answered when the door serves again, or is not going to for a while.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tlsrt.channels.control.authority_channel import LockStateMessage, LockStoredMessage
from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.control.reports import Document
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.messages.lock_record import LOCK_BYTES, LockRecord, new_record, record_of
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, MessageHandler, Reply, Request
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.states import LoopEvent

HOST = "host"
OPERATOR = "operator"
SERVES_S = 30.0  # for the fresh Primary to serve
TEXT_MAX = 4096  # characters of a reason
_AWAY = "the authority is not running now; it is told when it comes again, and persists the lock then"
_UNLOCKED = "cannot keep the host locked: it was unlocked at the same time; lock it again"


class LockControl(Feature):
    """The lock of one life of the supervisor."""

    def __init__(
        self, context: Context, loops: Loops, restarter: Restarter, authority: AuthorityProcess,
        requests: OperatorRequests,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._restarter = restarter
        self._authority = authority
        self._requests = requests
        self._unlocks = PendingAnswers[int](context.event_loop)  # incarnation of Primary before
        self._asked = b""  # the id of a lock of ours that the authority has not confirmed
        self._stored = b""  # the id of the lock that the authority has on the disk
        self._told: LockRecord | None = None  # by the authority that boots
        self._has_booted = False  # an authority of this life
        self.record: LockRecord | None = None

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"lock_state": self._heard, "lock_stored": self._heard_stored}

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"lock": ControlVerb(self._lock), "unlock": ControlVerb(self._unlock)}

    def authority_booted(self) -> None:
        """Tell an authority of a lock that it does not know, before it hears of any loop."""
        if self.record is not None and self._told is None:
            self._asked, self._stored = self.record.lock, b""
            self._authority.channel.lock(*self.record)
        self._has_booted, self._told = True, None

    def authority_lost(self) -> None:
        self._told = None

    def loop_changed(self, loop: Loop) -> None:
        """Answer the unlocks whose door serves again."""
        primary = self._loops.all[0]
        if primary.state is not LoopState.ACTIVE or self._loops.is_locked:
            return
        for number, incarnation in self._unlocks.items():
            if primary.incarnation > incarnation:
                self._unlocks.answer(number, {"serves": True})

    def stopping(self) -> None:
        self._unlocks.answer_all({"serves": False})

    def document(self) -> Document | None:
        """Return the lock for status."""
        if self.record is None:
            return None
        return lock_document(self.record, is_stored=self._stored == self.record.lock)

    # The verbs

    def _lock(self, request: Request, reply: Reply) -> None:
        reason = request.get("reason", "")
        if not isinstance(reason, str) or len(reason) > TEXT_MAX:
            reply({"error": "bad_request"})
            return
        self.engage(reason, OPERATOR, reply)

    def engage(self, reason: str, by: str, reply: Reply) -> None:
        """Lock the host, unless it is locked; `reply` gets the lock, or a sentence: `unavailable`."""
        is_locked = self.record is not None
        record = new_record(secrets.token_bytes(LOCK_BYTES), reason, by, time.time_ns() // 1_000_000)
        if not is_locked:
            self._asked = record.lock
            self._begin(record)

        def answered(answer: Document) -> None:
            if self.record is None:
                reply({"unavailable": [_UNLOCKED]})
                return
            notes = {} if is_locked else {"notes": answer.get("unavailable", [])}
            reply({"lock": self.document(), "already": is_locked, **notes})

        if self._authority.is_booted:  # also when there is a lock: an unlock of it may be waiting for the disk
            self._requests.ask(answered, lambda code, rows: {}, "lock", *record)
        else:
            answered({"unavailable": [_AWAY]})

    def _unlock(self, request: Request, reply: Reply) -> None:
        began, incarnation = self._context.event_loop.now, self._loops.all[0].incarnation
        self._requests.ask(partial(self._unlocked, reply, incarnation, began), _outcome, "unlock", OPERATOR)

    def _unlocked(self, reply: Reply, incarnation: int, began: float, answer: Document) -> None:
        if "unlocked" not in answer:
            reply(answer)
            return

        def done(document: Document) -> None:
            took_ms = round((self._context.event_loop.now - began) * 1000)
            reply({**answer, **document, "epoch": self._authority.epoch, "took_ms": took_ms})

        self._unlocks.hold(done, incarnation, longest_s=SERVES_S, late={"serves": False})
        self.loop_changed(self._loops.all[0])

    # What the authority says

    def _heard(self, message: LockStateMessage) -> None:
        record = record_of(message)
        # For a lock of ours that crosses this one, or for the one of an authority that came again and has told nothing
        # yet: neither has turned away from the Primary that there is.
        is_replaced = self.record is not None and (bool(self._asked) or not self._authority.is_booted)
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
            self._begin(record, is_replaced=is_replaced)

    def _heard_stored(self, message: LockStoredMessage) -> None:
        self._stored = message.lock

    def _know(self, record: LockRecord | None) -> None:
        self.record = record
        self._loops.set_locked(record is not None)
        if record is not None:
            self._context.events.emit("locked", HOST, f"by {record.by}: {record.reason}", lock=record.lock.hex())
            self._context.console.bad(HOST, "locked", f"by {record.by}: {record.reason}")

    def _begin(self, record: LockRecord, *, is_replaced: bool = False) -> None:
        """Put a lock in force. It has a Primary of its own, also if it takes the place of one that was to end."""
        self._know(record)
        primary = self._loops.all[0]
        if is_replaced or not primary.is_primary or not primary.is_living or self._loops.is_stopping:
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


def _outcome(code: int, rows: list[Any]) -> Document:
    if code == ResultCode.DONE:
        return {"unlocked": True}
    return {"refused" if code == ResultCode.REFUSED else "unavailable": [str(row) for row in rows]}


def lock_document(record: LockRecord, *, is_stored: bool) -> Document:
    """Return a lock as plain values."""
    since = datetime.fromtimestamp(record.since / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "id": record.lock.hex(), "reason": record.reason, "by": record.by, "since": since, "stored": is_stored
    }  # fmt: skip
