"""Carries steps out: by Primary, by revocation, by the supervisor, by the lock. No descriptor is touched here.

To shut somebody out is not held up by a record that cannot be written: it is written first where that is possible, and
done in any case. What lasts is ended by its own time at whoever holds it; a Primary that comes again is told anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tlsrt.supervisor.authority.detection.escalation import ResponseStep, Taken
from tlsrt.supervisor.authority.model.loop_table import GATE
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind

if TYPE_CHECKING:
    from tlsrt.supervisor.authority.service import AuthorityService

BY = "detection"
WHAT_MAX = 160


@dataclass(slots=True)
class BlockRow:
    """A subject in quarantine, and why."""

    taken: Taken
    subject: str


class Actions:
    """The hands of the response. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(self, service: AuthorityService) -> None:
        self._service = service
        self.quarantined: dict[str, BlockRow] = {}  # by subject
        self.on_quarantine: Callable[[int], None] = lambda now: None  # before it is written that somebody is revoked
        self.on_revoked: Callable[[str, str, int, int], None] = lambda subject, what, now, wall: None
        self.to_lift: dict[str, int] = {}  # loop: its incarnation; when that is gone, its quarantine ends

    def take(self, taken: Taken, subject: str, incarnation: int, now: int, wall: int) -> None:
        """Carry one step out. `subject` is whose session was charged, `incarnation` that of the loop at that time."""
        service = self._service
        who = subject or taken.charge.value
        words = f"{taken.step} for {taken.detector}: {taken.what[:WHAT_MAX]}"
        fields: dict[str, str | int] = {
            "step": str(taken.step),
            "detector": taken.detector,
            "score": round(taken.score),
        }
        charged = f"{taken.charge.kind} {taken.charge.value}"
        for_ms = max(0, taken.until - now)
        if taken.is_observed:
            service.note("would_respond", who, words, charged=charged, **fields)
            return
        service.note("response", who, words, charged=charged, for_ms=for_ms, **fields)
        do = partial(self._do, taken, subject, incarnation, now, wall)
        if taken.step is ResponseStep.LOCK:
            do()  # which writes its own record
            return
        detail: dict[str, str | int] = {**fields, "charged": charged, "what": taken.what[:WHAT_MAX], "for_ms": for_ms}
        if taken.step is ResponseStep.LIMIT:
            service.audit.note(str(taken.step), who, detail, now, wall)
            do()
        else:
            service.audit.before(str(taken.step), who, detail, now, wall, do, partial(self._unwritten, who, do))

    def _unwritten(self, who: str, do: Callable[[], None], why: str) -> None:
        self._service.note("reported", who, f"shut out although there is no record of it: {why}"[:WHAT_MAX])
        do()

    def _do(self, taken: Taken, subject: str, incarnation: int, now: int, wall: int) -> None:
        match taken.step:
            case ResponseStep.LIMIT | ResponseStep.BLOCK:
                self.tell_gate(taken, now)
            case ResponseStep.REVOKE:
                self._revoke(taken, subject, now, wall)
            case ResponseStep.QUARANTINE:
                self._quarantine(taken, subject, incarnation, now, wall)
            case ResponseStep.RESPAWN:
                self._respawn(taken, incarnation)
            case ResponseStep.LOCK:
                reason = f"{taken.detector} at {taken.charge.value}: {taken.what[:WHAT_MAX]}"
                self._service.lock.engage(reason, BY, now, wall)

    def tell_gate(self, taken: Taken, now: int) -> None:
        """Have Primary limit or block somebody."""
        for_ms = max(0, taken.until - now)
        if self._service.roster.gate:
            self._service.outlet.send(
                GATE, "shut_out", str(taken.step), str(taken.charge.kind), taken.charge.value, for_ms
            )  # fmt: skip

    def _revoke(self, taken: Taken, subject: str, now: int, wall: int) -> None:
        for session in self._sessions_of(taken.charge):
            self._service.revoking.revoke_session(session, now, wall)
        if subject:
            self.on_revoked(subject, taken.detector, now, wall)

    def _sessions_of(self, charge: Charge) -> list[bytes]:
        if charge.kind is ChargeKind.SESSION:
            return [bytes.fromhex(charge.value)]
        manager = self._service.manager
        return [each.session_id for each in manager if charge.value in (each.subject, each.owner)]

    def subjects_of(self, charge: Charge, subject: str) -> list[str]:
        """Return whom the quarantine of somebody shuts out."""
        if subject:
            return [subject]
        roster = self._service.roster
        if charge.value in {member.loop for member in roster}:
            return list(roster[charge.value].components)
        return [charge.value] if roster.has(charge.value) or charge.value.startswith("client/") else []

    def _quarantine(self, taken: Taken, subject: str, incarnation: int, now: int, wall: int) -> None:
        """Shut out who is not yet: what an operator has revoked stays as he said."""
        if incarnation and not taken.is_final:
            self.to_lift[taken.charge.value] = incarnation
        revoked = self._service.revoking.subjects()
        subjects = [one for one in self.subjects_of(taken.charge, subject) if one not in revoked]
        self.quarantined |= {one: BlockRow(taken, one) for one in subjects}
        self.on_quarantine(now)
        if subjects:
            self._service.revoking.revoke_subjects(subjects, max(1, taken.until - now), now, wall)

    def _respawn(self, taken: Taken, incarnation: int) -> None:
        loop = taken.charge.value
        sentence = f"score {taken.score:.0f}, last for {taken.what[:WHAT_MAX] or taken.detector}"
        self._service.outlet.tell("respawn", loop, incarnation, sentence)
        self._service.outlet.log(f"anomaly of {loop}: {sentence}")

    def lift_replaced(self, now: int) -> list[str]:
        """End the quarantine of loops whose process has been replaced; return their names."""
        done = [loop for loop, old in self.to_lift.items() if self._service.roster[loop].incarnation not in (0, old)]
        for loop in done:
            del self.to_lift[loop]
            whole = [name for name, shut in self.quarantined.items() if shut.taken.charge.value == loop]
            self.release([name for name in whole if not self.quarantined[name].taken.is_final], now)
        return done

    def shut_by(self, taken: Taken) -> int:
        """Return how many are in quarantine by one step."""
        return sum(1 for shut in self.quarantined.values() if shut.taken is taken)

    def release(self, subjects: list[str], now: int) -> bool:
        """Let subjects in again; False when that cannot be written, and nothing has changed."""
        if subjects and not self._service.revoking.restore(subjects, now):
            return False
        for subject in subjects:
            self.quarantined.pop(subject, None)
        return True

    def forget_ended(self) -> None:
        """Forget whoever is let in again, by his time or by an operator's `restore`."""
        if self.quarantined:
            revoked = self._service.revoking.subjects()
            self.quarantined = {name: shut for name, shut in self.quarantined.items() if name in revoked}
