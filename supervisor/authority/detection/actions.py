"""Actions: limit, block, revoke, quarantine, respawn and lock, each by who can carry it out. Pure.

An action is not held up by a record that cannot be written: it is recorded first where that is possible, and carried
out in any case. What lasts is ended by its own time where it is enforced; a new Primary is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.authority.detection.escalation import Action, AppliedAction
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE
from tlsrt.supervisor.authority.model.ports import PROMPT, Lock, SignalSource, SourceKind
from tlsrt.supervisor.authority.sessions.revocation import Revocations

BY = "detection"
WHAT_MAX = 160


@dataclass(slots=True)
class QuarantineEntry:
    """A subject in quarantine, and why."""

    applied: AppliedAction
    subject: str
    serial: int = 0  # of the revocation that it made: another one since is not its to end


class ActionsOwner(Protocol):
    """What has to know of actions that change what it remembers."""

    def quarantined(self, now: int) -> None:
        """Remember the quarantine, before it is written that its subjects are revoked."""

    def session_revoked(self, subject: str, detector: str, moment: Moment) -> None:
        """Note that sessions of a subject were ended."""


class ActionRunner:
    """Carries out actions."""

    def __init__(self, context: AuthorityContext, revocations: Revocations, lock: Lock, owner: ActionsOwner) -> None:
        self._notes = context.notes
        self._recorder = context.recorder
        self._loops = context.loops
        self._manager = context.sessions
        self._outgoing = context.outgoing
        self._revocations = revocations
        self._lock = lock
        self._owner = owner
        self.quarantined: dict[str, QuarantineEntry] = {}  # by subject
        self.to_lift: dict[str, int] = {}  # loop: its incarnation; when that is replaced, its quarantine ends

    def recall(self, quarantined: Mapping[str, AppliedAction], to_lift: Mapping[str, int]) -> None:
        """Go on with the quarantine of an authority before this one: subject and action. Loop and incarnation."""
        self.quarantined |= {subject: QuarantineEntry(applied, subject) for subject, applied in quarantined.items()}
        self.to_lift |= to_lift

    def take(self, applied: AppliedAction, subject: str, incarnation: int, moment: Moment) -> None:
        """Carry an action out. `subject` is whose session the source is, `incarnation` that of the loop then."""
        who = subject or applied.source.value
        words = f"{applied.action} for {applied.detector}: {applied.what[:WHAT_MAX]}"
        fields: dict[str, str | int] = {
            "step": str(applied.action),
            "detector": applied.detector,
            "score": round(applied.score),
        }
        charged = f"{applied.source.kind} {applied.source.value}"
        for_ms = max(0, applied.until - moment.now)
        if applied.is_observed:
            self._notes.note("would_respond", who, words, charged=charged, **fields)
            return
        self._notes.note("response", who, words, charged=charged, for_ms=for_ms, **fields)
        do = partial(self._do, applied, subject, incarnation, moment)
        if applied.action is Action.LOCK:
            do()  # which writes its own record
            return
        detail: dict[str, str | int] = {**fields, "charged": charged, "what": applied.what[:WHAT_MAX], "for_ms": for_ms}
        if applied.action is Action.LIMIT:
            self._recorder.note(str(applied.action), who, detail, moment)
            do()
        else:
            unwritten = partial(self._unwritten, who, do)
            self._recorder.before(str(applied.action), who, detail, moment, do, unwritten, PROMPT)

    def _unwritten(self, who: str, do: Callable[[], None], why: str) -> None:
        self._notes.note("reported", who, f"quarantined, but it could not be recorded: {why}"[:WHAT_MAX])
        do()

    def _do(self, applied: AppliedAction, subject: str, incarnation: int, moment: Moment) -> None:
        match applied.action:
            case Action.LIMIT | Action.BLOCK:
                self.tell_gate(applied, moment.now)
            case Action.REVOKE:
                self._revoke(applied, subject, moment)
            case Action.QUARANTINE:
                self._quarantine(applied, subject, incarnation, moment)
            case Action.RESPAWN:
                self._respawn(applied, incarnation)
            case Action.LOCK:
                reason = f"{applied.detector} at {applied.source.value}: {applied.what[:WHAT_MAX]}"
                self._lock.engage(reason, BY, moment)

    def tell_gate(self, applied: AppliedAction, now: int) -> None:
        """Have Primary limit or block a source."""
        for_ms = max(0, applied.until - now)
        if self._loops.gate:
            self._outgoing.send(
                GATE, "restrict", str(applied.action), str(applied.source.kind), applied.source.value, for_ms
            )  # fmt: skip

    def _revoke(self, applied: AppliedAction, subject: str, moment: Moment) -> None:
        for session in self._sessions_of(applied.source):
            self._revocations.revoke_session(session, moment)
        if subject:
            self._owner.session_revoked(subject, applied.detector, moment)

    def _sessions_of(self, source: SignalSource) -> list[bytes]:
        if source.kind is SourceKind.SESSION:
            return [bytes.fromhex(source.value)]
        return [each.session_id for each in self._manager if source.value in (each.subject, each.owner)]

    def subjects_of(self, source: SignalSource, subject: str) -> list[str]:
        """Return the subjects that the quarantine of a source shuts out."""
        if subject:
            return [subject]
        if source.value in {entry.loop for entry in self._loops}:
            return list(self._loops[source.value].components)
        return [source.value] if self._loops.has(source.value) or source.value.startswith("client/") else []

    def _quarantine(self, applied: AppliedAction, subject: str, incarnation: int, moment: Moment) -> None:
        """Block the subjects that are not yet: what an operator has revoked stays as it is.

        A restore that waits for the disk ends nothing then, and what it was to end does not get shorter.
        """
        if incarnation and not applied.is_final:
            self.to_lift[applied.source.value] = incarnation
        left, lasts = self._revocations.left(moment), max(1, applied.until - moment.now)
        subjects = self.subjects_of(applied.source, subject)
        fresh = [one for one in subjects if one not in left]
        again = {
            one: max(left[one], lasts) if left[one] else 0
            for one in subjects
            if one in left and one in self._revocations.returning
        }
        timed = [*fresh, *(one for one, for_ms in again.items() if for_ms)]  # the others are an operator's, for ever
        serial_of = self._revocations.serial_of  # the revocations below are the next ones
        self.quarantined |= {one: QuarantineEntry(applied, one, serial_of(one) + 1) for one in timed}
        self._owner.quarantined(moment.now)
        if fresh:
            self._revocations.revoke_subjects(fresh, lasts, moment)
        for one, for_ms in again.items():
            self._revocations.revoke_subjects([one], for_ms, moment)

    def _respawn(self, applied: AppliedAction, incarnation: int) -> None:
        loop = applied.source.value
        sentence = f"score {applied.score:.0f}, last for {applied.what[:WHAT_MAX] or applied.detector}"
        self._outgoing.tell("respawn", loop, incarnation, sentence)
        self._outgoing.log(f"anomaly of {loop}: {sentence}")

    def lift_replaced(self, now: int) -> list[str]:
        """End the quarantine of loops whose process has been replaced; return their names."""
        done = [loop for loop, old in self.to_lift.items() if self._is_replaced(loop, old)]
        if done:
            self.forget_ended()  # an operator may have revoked one since
        for loop in done:
            del self.to_lift[loop]
            whole = [name for name, shut in self.quarantined.items() if shut.applied.source.value == loop]
            subjects = [name for name in whole if not self.quarantined[name].applied.is_final]
            # When the disk refuses it they come back with the end of their quarantine.
            self.release(subjects, now, lambda names: None, lambda sentence: None)
        return done

    def _is_replaced(self, loop: str, old: int) -> bool:
        entry = self._loops.find(loop)
        return entry is None or entry.incarnation not in (0, old)

    def quarantined_by(self, applied: AppliedAction) -> int:
        """Return how many subjects are in quarantine by one action."""
        return sum(1 for shut in self.quarantined.values() if shut.applied is applied)

    def release(
        self, subjects: list[str], now: int, done: Callable[[list[str]], None], refused: Callable[[str], None]
    ) -> None:
        """Let subjects in again, and call `done` with those that are: others were revoked again meanwhile.

        `refused` when that cannot be written, and nothing has changed.
        """

        def restored(names: list[str]) -> None:
            for subject in names:
                self.quarantined.pop(subject, None)
            done(names)

        if subjects:
            self._revocations.restore(subjects, now, restored, refused)
        else:
            done([])

    def forget_ended(self) -> None:
        """Forget subjects that are no longer revoked, and those that an operator has revoked since."""
        if self.quarantined:
            revoked = self._revocations.subjects()  # 0 is for ever, which no quarantine is
            self.quarantined = {
                name: shut
                for name, shut in self.quarantined.items()
                if revoked.get(name) and self._revocations.serial_of(name) == shut.serial
            }
