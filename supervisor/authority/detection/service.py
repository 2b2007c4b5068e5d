"""Detection service: scores the signals of all detectors, and has actions taken. See scoring.py.

The source of a signal is what it came over. The authority adds what it knows itself: whose session a session is, and
which incarnation of a loop lives. After an epoch, a respawn, a reload or a revocation there is a grace period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tlsrt.budget import BUDGETS, Budget, budget_of
from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AlertOfComponentMessage, ChargeMessage
from tlsrt.channels.control.trust import OffencesMessage, RecipientReportsMessage
from tlsrt.config.detection import Mode, detector_of
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.detection.actions import ActionRunner
from tlsrt.supervisor.authority.detection.escalation import LASTING, Action, AppliedAction
from tlsrt.supervisor.authority.detection.gate_reports import OVER_BUDGET, gate_reports_untrusted
from tlsrt.supervisor.authority.detection.recipient_reports import (
    RecipientReportTable,
    Suspect,
    recipient_reports_untrusted,
)
from tlsrt.supervisor.authority.detection.scoring import Scoring
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.detection_snapshot import DetectionSnapshot
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import (
    Detail,
    Lock,
    LoopHandler,
    Service,
    SignalSource,
    SourceKind,
    SupervisorHandler,
)
from tlsrt.supervisor.authority.sessions.manager import CLIENT
from tlsrt.supervisor.authority.sessions.revocation import Revocations

REPORTS_PER_S = 40  # of one loop, which sends 20
TOLD_MS = 10_000  # one detector's signals of one source are an event once in this time
TOLD_MOST = 512
NAMES_TOLD = 256
WHAT_MAX = 160
WRITE_MS = 1_000
REVOKED_POINTS = 30  # for the subject whose session was ended: with another session its score goes on


class DetectionService(Service):
    """Scores signals, and has actions taken: the port Detection of the others."""

    def __init__(self, context: AuthorityContext, revocations: Revocations, lock: Lock) -> None:
        self._context = context
        self._table = context.loops
        self._manager = context.sessions
        self._notes = context.notes
        self._recorder = context.recorder
        self._outgoing = context.outgoing
        self._state = context.state
        self.config = context.config.detection
        self.scoring = Scoring(self.config, context.loops.names, lambda: context.randomness(1)[0] / 255)
        self.actions = ActionRunner(context, revocations, lock, self)
        self._loops = context.loops.names
        self._reports = Bucket(REPORTS_PER_S, REPORTS_PER_S)
        self._recipients = RecipientReportTable(GATE)
        self._recipient_reports: dict[str, Bucket] = {}
        self._told: dict[tuple[str, SignalSource], int] = {}
        self._repeats: dict[tuple[str, SignalSource], tuple[str, int]] = {}  # of alerts: detector, how often
        self._generation: tuple[int, ...] = ()
        self._names_told: list[str] = []
        self._living: dict[str, int] = {}  # loop: its last incarnation
        self._revocation = -1
        self._inherited: dict[str, tuple[float, int]] = {}  # subject: the score of an earlier session, and when
        self._is_changed = False
        self._write_at = 0  # the next time that what is remembered may be written

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"offences": self._on_gate_reports, "recipient_reports": self._on_recipient_reports}

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"charge": self._on_charge, "alert": self._on_alert}

    # What outlives the authority

    def quarantined(self, now: int) -> None:
        """Remember the quarantine, before it is written that its subjects are revoked."""
        self._remember(now)

    def session_revoked(self, subject: str, detector: str, moment: Moment) -> None:
        """Add points to the subject whose session was ended, as it may go on with another one."""
        source = SignalSource(SourceKind.CHANNEL, subject)
        self._signal("sessions_revoked", source, 1, detector, moment, points=REVOKED_POINTS)

    def recall(self, snapshot: DetectionSnapshot, now: int, *, is_resumed: bool) -> None:
        """Go on from what an authority before this one knew. If not `is_resumed`, every loop is another process."""
        if now < snapshot.at:
            snapshot = snapshot.moved(now)
        self.scoring.recall(snapshot)
        for source, score, subject in snapshot.scores:
            if source.kind is SourceKind.SESSION and subject:
                self._inherited[subject] = max((score, snapshot.at), self._inherited.get(subject, (0.0, 0)))
        active = {(applied.action, applied.source): applied for applied in self.scoring.active}
        self.actions.recall(
            {subject: active.get((one.action, one.source), one) for subject, one in snapshot.quarantined},
            {loop: at if is_resumed else -1 for loop, at in snapshot.lifting if loop in self._loops},
        )
        if is_resumed:
            self._living = {loop: incarnation for loop, incarnation in snapshot.living if loop in self._loops}
            return
        for loop in self._loops:
            self.scoring.replaced(loop, now)

    def _remember(self, now: int) -> None:
        """Put what is known now where the next write of the state finds it."""
        known, subject_of = self.scoring.remember(now), self._subject_of
        self._state.response = replace(
            known,
            scores=tuple((source, score, subject_of(source)) for source, score, _ in known.scores),
            quarantined=tuple((shut.subject, shut.applied) for shut in self.actions.quarantined.values()),
            lifting=tuple(self.actions.to_lift.items()),
            living=tuple(self._living.items()),
        )
        self._is_changed = True

    def _subject_of(self, source: SignalSource) -> str:
        if source.kind is not SourceKind.SESSION:
            return ""
        session = self._manager.find(_bytes_of(source.value))
        return session.subject if session is not None else ""

    def _write(self, now: int) -> None:
        """Write it; at once, then once a second, so that a crash loses at most one second of scores."""
        if self._is_changed and now >= self._write_at:
            self._write_at = now + WRITE_MS
            self._remember(now)
            self._is_changed = False
            self._context.writer.keep(now)

    # Signals

    def trigger(self, detector: str, source: SignalSource, detail: Detail, moment: Moment) -> None:
        """Answer a signal that no subject causes by accident."""
        self._signal(detector, source, 1, _what(detail), moment, is_trigger=True)

    def add(self, detector: str, source: SignalSource, points: int, detail: Detail, moment: Moment) -> None:
        """Add points for a signal that may have an innocent cause. With 0 they are the detector's own."""
        self._signal(detector, source, 1, _what(detail), moment, points=points or None)

    def over_budget(self, subject: str, budget: Budget, moment: Moment) -> None:
        """Tell that a subject used more than its share and is made to wait; nothing else follows."""
        self._signal(OVER_BUDGET, SignalSource(SourceKind.CHANNEL, subject), 1, BUDGETS[budget], moment)

    def _on_gate_reports(self, primary: LoopEntry, message: OffencesMessage, moment: Moment) -> None:
        """Score what the gate and the door refused."""
        reports = gate_reports_untrusted(message.reports)
        if not self._reports.take(moment.now / 1000):
            return
        for report in reports:
            self._signal(report.detector, report.source, report.times, report.what, moment)

    def _on_recipient_reports(self, entry: LoopEntry, message: RecipientReportsMessage, moment: Moment) -> None:
        """Score what a recipient refused although it had passed the gate."""
        reports = recipient_reports_untrusted(message.reports)
        bucket = self._recipient_reports.setdefault(entry.loop, Bucket(REPORTS_PER_S, REPORTS_PER_S))
        if not bucket.take(moment.now / 1000):
            return
        for session_id, word, times in reports:
            session = self._manager.find(session_id)
            if session is None:
                continue  # it has ended, and its subject is not known any more
            budget = budget_of(word)
            if budget is not None:
                what = f"{BUDGETS[budget]}, at {entry.loop}"
                self._signal(OVER_BUDGET, SignalSource(SourceKind.SESSION, session_id.hex()), times, what, moment)
                continue
            sender = "" if session.owner == CLIENT else session.owner
            what = f"{word} at {entry.loop}"
            against = self._recipients.heard(entry.loop, session_id, sender, moment.now)
            of_session = SignalSource(SourceKind.SESSION, session_id.hex())
            self._signal(str(Suspect.UNKNOWN), of_session, times, what, moment)
            if Suspect.GATE in against:
                self._signal(str(Suspect.GATE), SignalSource(SourceKind.PROCESS, GATE), 1, what, moment)
            if Suspect.SENDER in against:
                self._signal(str(Suspect.SENDER), of_session, 1, what, moment)

    def _on_charge(self, message: ChargeMessage, moment: Moment) -> None:
        """Score what the supervisor saw a loop do."""
        loop, incarnation, detector, count, what = message
        source = SignalSource(SourceKind.PROCESS, loop)
        self._signal(detector, source, count, what, moment, incarnation=incarnation)

    def _on_alert(self, message: AlertOfComponentMessage, moment: Moment) -> None:
        """Score what a component reports of the host."""
        component, detector, times, what = message
        self._signal(detector, SignalSource(SourceKind.ALERT, component), times, what, moment)

    # Scoring

    def _signal(
        self, name: str, source: SignalSource, count: int, what: str, moment: Moment, *, points: int | None = None,
        incarnation: int | None = None, is_trigger: bool = False,
    ) -> None:  # fmt: skip
        self._look(moment.now)
        subject = ""
        if source.kind is SourceKind.SESSION:
            session = self._manager.find(_bytes_of(source.value))
            if session is None:
                return  # it has ended: who held it has another one by now, or none
            subject = session.subject
            if subject in self._inherited:
                self.scoring.inherit(source, *self._inherited.pop(subject))
        before = self.scoring.counted(name)
        entry = self._table.find(source.value)
        is_over = incarnation is not None and (entry is None or entry.incarnation != incarnation)
        applied = self.scoring.signal(
            name, source, moment.now, points=points, count=count, what=what, subject=subject,
            is_trigger=is_trigger, is_over=is_over,
        )  # fmt: skip
        if self.scoring.counted(name) > before or self.config.mode_of(detector_of(name)) is Mode.OBSERVE:
            self._tell(name, source, subject, count, what, moment)
        # Addresses cause no write before they are blocked.
        is_counted = self.scoring.counted(name) > before and source.kind is not SourceKind.ADDRESS
        self._is_changed |= is_counted or any(each.action is not Action.LIMIT for each in applied)
        if entry is not None:
            self._tell_score(source.value, moment.now)
            incarnation = entry.incarnation
        for each in applied:
            self.actions.take(each, subject, incarnation or 0, moment)
        self._tell_quarantine()

    def _tell(self, name: str, source: SignalSource, subject: str, count: int, what: str, moment: Moment) -> None:
        """Make an event and a record of it, the first time and then once in a while."""
        is_of_its_own = name == OVER_BUDGET or source.kind is SourceKind.ALERT
        key = (what if is_of_its_own else name, source)
        if moment.now - self._told.get(key, moment.now - TOLD_MS) < TOLD_MS:
            if source.kind is SourceKind.ALERT:  # what is granted, so there are few
                self._repeats[key] = name, count + self._repeats.get(key, (name, 0))[1]
            return
        count += self._repeats.pop(key, (name, 0))[1]
        if len(self._told) >= TOLD_MOST:
            self._told = {each: at for each, at in self._told.items() if moment.now - at < TOLD_MS}
        if len(self._told) < TOLD_MOST or source.kind is SourceKind.ALERT:  # of which there are as many as are granted
            self._told[key] = moment.now
            who, charged = subject or source.value, f"{source.kind} {source.value}"
            detail: dict[str, str | int] = {"detector": name, "charged": charged, "count": count}
            if name == OVER_BUDGET:
                self._notes.note("over_budget", who, what, **detail)
            else:
                self._notes.note("detected", who, f"{name}: {what}", **detail)
            self._recorder.note("charge", who, {**detail, "what": what[:WHAT_MAX]}, moment)

    def _tell_repeats(self, moment: Moment) -> None:
        """Tell how often alerts came again, once the time is over in which they are told once."""
        for key in [key for key in self._repeats if moment.now >= self._told.get(key, 0) + TOLD_MS]:
            name, count = self._repeats.pop(key)
            self._tell(name, key[1], "", count, key[0], moment)

    def _look(self, now: int) -> None:
        """Begin a grace period after what makes innocent peers use what has just ended."""
        generation = (self._context.epochs.current, *(entry.incarnation for entry in self._table))
        if generation != self._generation:
            for loop in self._loops:
                living = self._table[loop].incarnation
                if living not in (0, self._living.get(loop, living)):
                    self.scoring.replaced(loop, now)
                self._living[loop] = living or self._living.get(loop, 0)
            self._generation = generation
            self.scoring.begin_grace(now)
        if self._state.revocation != self._revocation:
            self._revocation = self._state.revocation
            self.scoring.revoked(now)

    def joined(self, loop: str, moment: Moment) -> None:
        """Tell a new Primary what it has to enforce."""
        if loop == GATE:
            for applied in self.scoring.active:
                if applied.action in (Action.LIMIT, Action.BLOCK) and not applied.is_observed:
                    self.actions.tell_gate(applied, moment.now)

    def release(
        self, name: str, moment: Moment, done: Callable[[list[str]], None], refused: Callable[[str], None]
    ) -> None:
        """End every action against a name and forget its scores. Then tell `done` what was released.

        `name` is a component, a client, a loop or an address. When the disk refuses, `refused` gets a sentence.
        """
        client = f"client/{name}"
        self.actions.forget_ended()
        shut = [each for each in self.actions.quarantined if each in (name, client) or each.startswith(f"{name}/")]
        actions = [applied for applied in self.scoring.active if applied.source.value in (name, client)]
        if not shut and not actions:
            done([])
            return

        def released(names: list[str]) -> None:
            left = {*shut}.difference(names)  # revoked again meanwhile, by what is in force
            ended = [applied for applied in actions if applied.source.value not in left]
            done(self._released({name, client, *names} - left, names, ended))

        self.actions.release(shut, moment.now, released, refused)

    def _released(self, values: set[str], names: list[str], actions: list[AppliedAction]) -> list[str]:
        """End what is against these values; return the subjects that are in again, and the sources of the actions."""
        moment = self._context.moment()
        forgotten = {*values}
        for value in values:
            for applied in self.scoring.release(value):
                if applied.action in (Action.LIMIT, Action.BLOCK):
                    self.actions.tell_gate(replace(applied, until=moment.now), moment.now)
        for applied in self.scoring.active:
            if applied.action is Action.QUARANTINE and self.actions.quarantined_by(applied) == 0:
                self.scoring.release(applied.source.value)
                forgotten.add(applied.source.value)
        for value in sorted(forgotten):
            self._tell_score(value, moment.now)
        self._is_changed = True
        freed = sorted({*names, *(applied.source.value for applied in actions)})
        for each in freed:
            self._recorder.note("release", each, {}, moment)
            self._notes.note("response_ended", each, "released by an operator", step="release")
        self._tell_quarantine()
        return freed

    def _tell_score(self, value: str, now: int) -> None:
        """Tell the supervisor the score of a loop, for its status; nothing of what is no loop."""
        if self._table.find(value) is not None:
            self._outgoing.tell("score", value, round(self.scoring.score_of_loop(value, now)))

    def _tell_quarantine(self) -> None:
        """Tell the supervisor the subjects in quarantine, for its status."""
        names = sorted(self.actions.quarantined)[:NAMES_TOLD]
        if names != self._names_told:
            self._names_told = names
            self._is_changed = True
            self._outgoing.tell("quarantine", names)

    # Time

    def next_due(self) -> int | None:
        due = [self._told.get(key, 0) + TOLD_MS for key in self._repeats]
        due += [self._write_at] if self._is_changed else []
        scored = self.scoring.next_due()
        return min(due if scored is None else [*due, scored], default=None)

    def tick(self, moment: Moment) -> None:
        self._look(moment.now)
        for loop in self.actions.lift_replaced(moment.now):
            self.scoring.release_actions(loop)
        for applied in self.scoring.due(moment.now):
            self._ended(applied)
        self.actions.forget_ended()
        self._tell_repeats(moment)
        self._tell_quarantine()
        self._write(moment.now)

    def _ended(self, applied: AppliedAction) -> None:
        if applied.action in LASTING and not applied.is_observed:
            self._notes.note("response_ended", applied.source.value, str(applied.action), step=str(applied.action))


def _what(detail: Detail) -> str:
    return " ".join(str(value) for value in detail.values())


def _bytes_of(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
