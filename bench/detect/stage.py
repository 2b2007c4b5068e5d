"""A host without frames: deeds move what the gate keeps, and from there on everything is the code of production.

Deeds set the numbers of `gate_state.Session` as the gate does; `Telemetry` makes windows of them, `AnomalyDetector` and
its model weigh these; refusals go through `detector_for` to the `Scoring`. Several arms (rules alone, rules and a
model) see the same traffic. Nobody is stopped by an answer, so every arm sees all of it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from bench.detect.deeds import CHARGED, NOTHING, PER_S, TICK_MS, Actor, Deeds, Who
from bench.detect.scenario import Scenario
from tlsrt.budget import Budget
from tlsrt.channels.clock import Moment
from tlsrt.channels.control.learner import WeighMessage
from tlsrt.channels.control.telemetry import bit_of, pack_rows
from tlsrt.config.detection import DetectionConfig
from tlsrt.loops.gate.state import GateSession as GateSession
from tlsrt.loops.gate.state import Origin
from tlsrt.loops.primary.telemetry import Telemetry
from tlsrt.supervisor.authority.detection.anomaly_detector import AnomalyDetector
from tlsrt.supervisor.authority.detection.gate_reports import detector_for
from tlsrt.supervisor.authority.detection.scoring import Scoring
from tlsrt.supervisor.authority.model.ports import Detail, SignalSource, SourceKind
from tlsrt.supervisor.authority.sessions.manager import Session, SessionManager
from tlsrt.supervisor.learner.anomaly_model import AnomalyModel
from tlsrt.supervisor.learner.main import weighed

LOOPS = ("primary", "secondary", "third", "forth", "external")
PAUSE_TICKS = {"epoch": 1, "reload": 3, "respawn": 3}  # in which nobody gets through
EVENT_EVERY_MS = 10_000  # supervisor/authority/detection/service.py: one of a kind by one


BEGIN_MS = 1_000_000  # BOOTTIME when a scenario begins


class Finding(NamedTuple):
    """An event, or a step that is taken. `is_attack` is false where what brought it was ordinary traffic."""

    at: int  # ms
    subject: str
    detector: str
    action: str  # "" for an event
    is_attack: bool


@dataclass(slots=True)
class Findings:
    """What an arm has found."""

    found: list[Finding] = field(default_factory=list[Finding])
    seconds: float = 0.0  # of CPU that the model took
    windows: int = 0


class Arm:
    """Rules, with a model or without."""

    def __init__(self, name: str, sessions: SessionManager, seed: int, model: AnomalyModel | None) -> None:
        self.name = name
        self.findings = Findings()
        self._scoring = Scoring(DetectionConfig(), LOOPS, random.Random(seed).random)
        self._subjects: dict[str, str] = {}
        self._told: dict[tuple[str, SignalSource], int] = {}
        self._now = 0
        self._model = model
        randomness = random.Random(seed).randbytes
        self._desk = None if model is None else AnomalyDetector(sessions, self, self, cast("Any", self), randomness)

    def tell(self, name: str, *fields: Any) -> None:
        """Be the supervisor and the learner."""
        if self._model is not None and self._desk is not None:
            self._desk.advised(weighed(self._model, WeighMessage(*fields)), Moment(self._now, self._now))

    def over_budget(self, subject: str, budget: Budget, moment: Moment) -> None:
        """Nothing follows from it."""

    def grace(self, now: int) -> None:
        self._scoring.begin_grace(now)

    def signal(
        self, detector: str, source: SignalSource, subject: str, count: int, what: str, now: int, *, is_attack: bool
    ) -> None:  # fmt: skip
        """An offence, as DetectionService takes it: an event once in a while, and the judge's steps."""
        key = (detector, source)
        if now - self._told.get(key, -EVENT_EVERY_MS) >= EVENT_EVERY_MS:
            self._told[key] = now
            self.findings.found.append(Finding(now, subject, detector, "", is_attack))
        for applied in self._scoring.signal(detector, source, now, count=count, what=what, subject=subject):
            self.findings.found.append(Finding(now, subject, detector, str(applied.action), is_attack))

    def telemetry(self, fields: list[Any], subjects: dict[str, str], now: int) -> None:
        if self._desk is None:
            return
        self._subjects, self._now = subjects, now
        begin = time.thread_time()
        self._desk.heard(fields[0], Moment(now, now))
        self.findings.seconds += time.thread_time() - begin
        self.findings.windows += len(fields[0])

    def tick(self, now: int) -> None:
        self._scoring.due(now)

    def trigger(self, detector: str, source: SignalSource, detail: Detail, moment: Moment) -> None:
        raise AssertionError("it is advisory")

    def add(self, detector: str, source: SignalSource, points: int, detail: Detail, moment: Moment) -> None:
        subject = str(detail["subject"])
        for applied in self._scoring.signal(
            detector, source, moment.now, points=points, what=str(detail["why"]), subject=subject
        ):
            self.findings.found.append(Finding(moment.now, subject, detector, str(applied.action), True))

    def note(self, name: str, subject: str, words: str = "", /) -> None:
        self.findings.found.append(Finding(self._now, subject, name, "", True))


class Stage:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario, models: dict[str, AnomalyModel | None]) -> None:
        self._scenario = scenario
        self._chance = random.Random(f"stage {scenario.seed}")
        self._manager = SessionManager(self._chance.randbytes)
        self.arms = [Arm(name, self._manager, scenario.seed, model) for name, model in models.items()]
        self._now = BEGIN_MS
        self._moved: dict[int, tuple[int, int]] = {}
        self._sessions: dict[str, tuple[Session, GateSession]] = {}
        self._of_gate: dict[bytes, GateSession] = {}
        self._subjects: dict[str, str] = {}  # by session id
        self._connections = 0
        self._telemetry = Telemetry(self._moved.get)

    def run(self) -> dict[str, Findings]:
        """Return what each arm has found."""
        scenario = self._scenario
        scripts: dict[Actor, Iterator[Deeds]] = {}
        paused = 0
        for tick in range(scenario.ticks):
            self._now += TICK_MS
            if (what := scenario.disturbances.get(tick)) is not None:
                paused = tick + PAUSE_TICKS[what]
                self._disturb(what)
            for at, actor in enumerate(scenario.actors):
                if not actor.from_tick <= tick < actor.until_tick:
                    continue
                script = scripts.get(actor)
                if script is None:
                    script = scripts[actor] = actor.script(random.Random(f"{scenario.seed} {at} {actor.name}"))
                deeds = next(script)
                if tick >= paused and deeds is not NOTHING:
                    self._do(actor, deeds)
            rows = self._telemetry.sample(self._of_gate)
            for arm in self.arms:
                if rows:
                    arm.telemetry([pack_rows(rows)], self._subjects, self._now)
                arm.tick(self._now)
        return {arm.name: arm.findings for arm in self.arms}

    def _disturb(self, what: str) -> None:
        """An epoch, a reload or another Primary: grace, and the innocent use what has just ended."""
        for arm in self.arms:
            arm.grace(self._now)
        for name in list(self._sessions):
            if what == "respawn":
                self._end(name)
            elif self._chance.random() < 0.3:
                self._refuse(*self._charge_of(name), Deeds(refusals=(("stale_epoch", ""),)), is_attack=False)
        if what == "respawn":
            self._telemetry = Telemetry(self._moved.get)

    def _end(self, name: str) -> None:
        session, of_gate = self._sessions.pop(name)
        if not of_gate.origin.loop:
            self._manager.close(session)
        del self._of_gate[session.session_id]

    def _charge_of(self, name: str) -> tuple[SignalSource, str]:
        session = self._sessions[name][0]
        return SignalSource(SourceKind.SESSION, session.session_id.hex()), session.subject

    def _open(self, actor: Actor, name: str) -> GateSession:
        if actor.who is Who.COMPONENT:
            session = self._manager.open_component(actor.name, actor.name.partition("/")[0], self._now)
            of_gate = GateSession(Origin(session.owner))
        else:
            session = self._manager.open_client(actor.name, b"", self._now)
            self._connections += 1
            of_gate = GateSession(Origin("", self._connections, session.session_id))
            self._moved[self._connections] = (0, 0)
        self._manager.opened(session)
        self._subjects[session.session_id.hex()] = session.subject
        self._sessions[name] = session, of_gate
        self._of_gate[session.session_id] = of_gate
        return of_gate

    def _do(self, actor: Actor, deeds: Deeds) -> None:
        if actor.who in CHARGED:
            self._refuse(SignalSource(CHARGED[actor.who], actor.name), actor.name, deeds, is_attack=actor.is_attack)
            return
        # who has stolen a name has a session of his own, by that name; any other attack is on the victim's
        name = f"{actor.name} {actor.label}" if actor.label == "credential theft" else actor.name
        held = self._sessions.get(name)
        of_gate = held[1] if held is not None else self._open(actor, name)
        of_gate.last += deeds.frames
        of_gate.open_calls = deeds.open_calls
        for component, method in deeds.calls:
            of_gate.methods |= bit_of(f"{component}.{method}")
            of_gate.targets |= bit_of(component)
        connection = of_gate.origin.connection
        if connection:
            received, sent = self._moved[connection]
            self._moved[connection] = received + deeds.bytes_in, sent + deeds.bytes_out
        if deeds.refusals:
            of_gate.refused += len(deeds.refusals)
            self._refuse(*self._charge_of(name), deeds, is_attack=actor.is_attack)

    def _refuse(self, source: SignalSource, subject: str, deeds: Deeds, *, is_attack: bool) -> None:
        for (word, about), count in Counter(deeds.refusals).items():
            if detector := detector_for(source.kind, word):
                for arm in self.arms:
                    arm.signal(detector, source, subject, count, f"{word} {about}", self._now, is_attack=is_attack)


assert PER_S * TICK_MS == 1000
