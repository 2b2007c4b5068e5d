"""The response: everybody's offences come here, are weighed, and are answered. The authority's part; see `scoring.py`.

What is charged is what an offence came over. The authority adds what it knows itself: whose session a session is, and
which incarnation of a loop lives. After an epoch, a respawn, a reload or a revocation there is a moment of grace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tlsrt.channels.control.authority_channel import ChargeMessage
from tlsrt.channels.control.trust import OffencesMessage, RecipientReportsMessage
from tlsrt.config.detection import DetectionConfig, Mode, detector_of
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.detection.actions import Actions, BlockRow
from tlsrt.supervisor.authority.detection.admin import DetectionAdmin
from tlsrt.supervisor.authority.detection.escalation import LASTING, ResponseStep, Taken
from tlsrt.supervisor.authority.detection.gate_reports import reports_untrusted
from tlsrt.supervisor.authority.detection.recipient_reports import Against, RecipientReportTable, testimonies_untrusted
from tlsrt.supervisor.authority.detection.scoring import Scoring
from tlsrt.supervisor.authority.model.detection_snapshot import DetectionSnapshot
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind, Detail
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.sessions.manager import CLIENT

if TYPE_CHECKING:
    from tlsrt.supervisor.authority.service import AuthorityService

REPORTS_PER_S = 40  # of one loop, which sends 20
TOLD_MS = 10_000  # an offence of one kind by one is an event once in this time
TOLD_MOST = 512
NAMES_TOLD = 256
WHAT_MAX = 160
WRITE_MS = 1_000
REVOKED_POINTS = 30  # for whoever's session was ended: who goes on with another one climbs all the same


class DetectionService:
    """The Response of `services.py`, and a Part of the authority."""

    def __init__(
        self, service: AuthorityService, config: DetectionConfig, loops: list[str], chance: Callable[[], float],
        state: AuthorityState, persist: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._service = service
        self.config = config
        self.judge = Scoring(config, loops, chance)
        self.actions = Actions(service)
        self.actions.on_revoked = self._session_revoked
        self._loops = frozenset(loops)
        self._reports = Bucket(REPORTS_PER_S, REPORTS_PER_S)
        self._witnesses = RecipientReportTable(GATE)
        self._testimonies = {loop: Bucket(REPORTS_PER_S, REPORTS_PER_S) for loop in loops}
        self._told: dict[tuple[str, Charge], int] = {}
        self._generation: object = None
        self._names_told: list[str] = []
        self._living: dict[str, int] = {}  # loop: its last incarnation
        self._revocations = -1
        self._state = state
        self._persist = persist
        self._inherited: dict[str, tuple[float, int]] = {}  # subject: what a session of it had, and when
        self._is_changed = False
        self._write_at = 0  # the next time that what is remembered may be written
        self.actions.on_quarantine = self._note_memory
        service.response = self
        service.parts.append(self)
        service.handlers["offences"] = self._reported
        service.handlers["witnessed"] = self._witnessed
        service.office_handlers["charge"] = self._charged
        service.on_joined.append(self._joined)
        DetectionAdmin(service, self)

    # What outlives the authority

    def recall(self, memory: DetectionSnapshot, now: int, *, is_resumed: bool) -> None:
        """Go on from what an authority before this one knew. If not `is_resumed`, every loop is another process."""
        if now < memory.at:
            memory = memory.moved(now)
        self.judge.recall(memory)
        for charge, score, subject in memory.scores:
            if charge.kind is ChargeKind.SESSION and subject:
                self._inherited[subject] = max((score, memory.at), self._inherited.get(subject, (0.0, 0)))
        in_force = {(taken.step, taken.charge): taken for taken in self.judge.in_force}
        for subject, taken in memory.quarantined:
            self.actions.quarantined[subject] = BlockRow(in_force.get((taken.step, taken.charge), taken), subject)
        self.actions.to_lift |= {loop: at if is_resumed else -1 for loop, at in memory.lifting if loop in self._loops}
        if is_resumed:
            self._living = {loop: incarnation for loop, incarnation in memory.living if loop in self._loops}
            return
        for loop in self._loops:
            self.judge.replaced(loop, now)

    def _note_memory(self, now: int) -> None:
        """Put what is known now where the next write of the state finds it."""
        known, subject_of = self.judge.remember(now), self._subject_of
        self._state.response = replace(
            known,
            scores=tuple((charge, score, subject_of(charge)) for charge, score, _ in known.scores),
            quarantined=tuple((shut.subject, shut.taken) for shut in self.actions.quarantined.values()),
            lifting=tuple(self.actions.to_lift.items()),
            living=tuple(self._living.items()),
        )
        self._is_changed = True

    def _subject_of(self, charge: Charge) -> str:
        if charge.kind is not ChargeKind.SESSION:
            return ""
        session = self._service.manager.find(_bytes_of(charge.value))
        return session.subject if session is not None else ""

    def _write(self, now: int) -> None:
        """Have it on the disk; at once, then once a second, so that who kills the authority gains no more than that."""
        if self._is_changed and now >= self._write_at:
            self._write_at = now + WRITE_MS
            self._note_memory(now)
            self._is_changed = not self._persist()

    # What others say

    def trip(self, detector: str, charge: Charge, detail: Detail, now: int, wall: int) -> None:
        """Answer a trigger: something that nobody does by accident."""
        self._weigh(detector, charge, 1, _what(detail), now, wall, is_trip=True)

    def add(self, detector: str, charge: Charge, points: int, detail: Detail, now: int, wall: int) -> None:
        """Add points for something that may happen by accident, once. With 0 they are the detector's own."""
        self._weigh(detector, charge, 1, _what(detail), now, wall, points=points or None)

    def _reported(self, primary: LoopEntry, message: OffencesMessage, now: int, wall: int) -> None:
        """Primary says what the gate and the door refused."""
        reports = reports_untrusted(message.reports)
        if not self._reports.take(now / 1000):
            return
        for report in reports:
            self._weigh(report.detector, report.charge, report.times, report.what, now, wall)

    def _witnessed(self, member: LoopEntry, message: RecipientReportsMessage, now: int, wall: int) -> None:
        """A recipient says what it refused although the gate had let it through."""
        testimonies = testimonies_untrusted(message.reports)
        if not self._testimonies[member.loop].take(now / 1000):
            return
        for session_id, word, times in testimonies:
            session = self._service.manager.find(session_id)
            if session is None:
                continue  # nobody can tell any more whose it was
            sender = "" if session.owner == CLIENT else session.owner
            what = f"{word} at {member.loop}"
            against = self._witnesses.heard(member.loop, session_id, sender, now)
            of_session = Charge(ChargeKind.SESSION, session_id.hex())
            self._weigh(str(Against.NOBODY), of_session, times, what, now, wall)
            if Against.GATE in against:
                self._weigh(str(Against.GATE), Charge(ChargeKind.PROCESS, GATE), 1, what, now, wall)
            if Against.SENDER in against:
                self._weigh(str(Against.SENDER), of_session, 1, what, now, wall)

    def _charged(self, message: ChargeMessage, now: int, wall: int) -> None:
        """The supervisor says what a loop did."""
        loop, incarnation, detector, count, what = message
        charge = Charge(ChargeKind.PROCESS, loop)
        self._weigh(detector, charge, count, what, now, wall, incarnation=incarnation)

    def _session_revoked(self, subject: str, what: str, now: int, wall: int) -> None:
        self._weigh("sessions_revoked", Charge(ChargeKind.CHANNEL, subject), 1, what, now, wall, points=REVOKED_POINTS)

    # What follows

    def _weigh(
        self, name: str, charge: Charge, count: int, what: str, now: int, wall: int, *, points: int | None = None,
        incarnation: int | None = None, is_trip: bool = False,
    ) -> None:  # fmt: skip
        self._look(now)
        subject = ""
        if charge.kind is ChargeKind.SESSION:
            session = self._service.manager.find(_bytes_of(charge.value))
            if session is None:
                return  # it has ended: who held it has another one by now, or none
            subject = session.subject
            if subject in self._inherited:
                self.judge.inherit(charge, *self._inherited.pop(subject))
        before = self.judge.counted(name)
        is_over = incarnation is not None and incarnation != self._service.roster[charge.value].incarnation
        taken = self.judge.charge(
            name, charge, now, points=points, count=count, what=what, subject=subject, is_trip=is_trip, is_over=is_over
        )  # fmt: skip
        if self.judge.counted(name) > before or self.config.mode_of(detector_of(name)) is Mode.OBSERVE:
            self._tell(name, charge, subject, count, what, now, wall)
        # Strangers cause no write before they are blocked.
        is_counted = self.judge.counted(name) > before and charge.kind is not ChargeKind.ADDRESS
        self._is_changed |= is_counted or any(each.step is not ResponseStep.LIMIT for each in taken)
        if charge.value in self._loops:
            self._service.outlet.tell("score", charge.value, round(self.judge.score_of_loop(charge.value, now)))
            incarnation = self._service.roster[charge.value].incarnation
        for each in taken:
            self.actions.take(each, subject, incarnation or 0, now, wall)
        self._tell_quarantine()

    def _tell(self, name: str, charge: Charge, subject: str, count: int, what: str, now: int, wall: int) -> None:
        """Make an event and a record of it, the first time and then once in a while."""
        key = (name, charge)
        if now - self._told.get(key, now - TOLD_MS) < TOLD_MS:
            return
        if len(self._told) >= TOLD_MOST:
            self._told = {each: at for each, at in self._told.items() if now - at < TOLD_MS}
        if len(self._told) < TOLD_MOST:
            self._told[key] = now
            who, charged = subject or charge.value, f"{charge.kind} {charge.value}"
            detail: dict[str, str | int] = {"detector": name, "charged": charged, "count": count}
            self._service.note("detected", who, f"{name}: {what}", **detail)
            self._service.audit.note("charge", who, {**detail, "what": what[:WHAT_MAX]}, now, wall)

    def _look(self, now: int) -> None:
        """Begin a moment of grace after what makes the innocent use what has just ended."""
        generation, revocations = self._service.generation, self._service.revocations
        if generation != self._generation:
            for loop in self._loops:
                living = self._service.roster[loop].incarnation
                if living not in (0, self._living.get(loop, living)):
                    self.judge.replaced(loop, now)
                self._living[loop] = living or self._living.get(loop, 0)
            self._generation = generation
            self.judge.begin_grace(now)
        if revocations != self._revocations:
            self._revocations = revocations
            self.judge.revoked(now)

    def _joined(self, loop: str, now: int) -> None:
        if loop == GATE:
            for taken in self.judge.in_force:
                if taken.step in (ResponseStep.LIMIT, ResponseStep.BLOCK) and not taken.is_observed:
                    self.actions.tell_gate(taken, now)

    def release(self, name: str, now: int, wall: int) -> list[str] | None:
        """End every step against somebody and forget his scores; return whom that let in, or was freed; None: the disk.

        `name` is a component, a client, a loop or an address.
        """
        client = f"client/{name}"
        shut = [each for each in self.actions.quarantined if each in (name, client) or each.startswith(f"{name}/")]
        steps = [taken for taken in self.judge.in_force if taken.charge.value in (name, client)]
        if not shut and not steps:
            return []
        if not self.actions.release(shut, now):
            return None
        for value in {name, client, *shut}:
            for taken in self.judge.release(value):
                if taken.step in (ResponseStep.LIMIT, ResponseStep.BLOCK):
                    self.actions.tell_gate(replace(taken, until=now), now)
        for taken in self.judge.in_force:
            if taken.step is ResponseStep.QUARANTINE and self.actions.shut_by(taken) == 0:
                self.judge.release(taken.charge.value)
        self._is_changed = True
        freed = sorted({*shut, *(taken.charge.value for taken in steps)})
        for each in freed:
            self._service.audit.note("release", each, {}, now, wall)
            self._service.note("response_ended", each, "released by an operator", step="release")
        self._tell_quarantine()
        return freed

    def _tell_quarantine(self) -> None:
        """Tell the supervisor who is in quarantine, for its status."""
        names = sorted(self.actions.quarantined)[:NAMES_TOLD]
        if names != self._names_told:
            self._names_told = names
            self._is_changed = True
            self._service.outlet.tell("quarantine", names)

    # What time says

    def next_due(self) -> int | None:
        due = self.judge.next_due()
        if not self._is_changed:
            return due
        return self._write_at if due is None else min(due, self._write_at)

    def tick(self, now: int, wall: int) -> None:
        self._look(now)
        for loop in self.actions.lift_replaced(now):
            self.judge.release_steps(loop)
        for taken in self.judge.due(now):
            self._ended(taken)
        self.actions.forget_ended()
        self._tell_quarantine()
        self._write(now)

    def _ended(self, taken: Taken) -> None:
        if taken.step in LASTING and not taken.is_observed:
            self._service.note("response_ended", taken.charge.value, str(taken.step), step=str(taken.step))


def _what(detail: Detail) -> str:
    return " ".join(str(value) for value in detail.values())


def _bytes_of(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
