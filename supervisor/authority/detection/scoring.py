"""The judge: offences in, steps out. Pure, and bounded in memory. Times are BOOTTIME in ms.

Rules, held by the property tests: nobody has a step without points of his own; who is named by an offender, but is not
whom the offence came over, has none; every step but the lock has an end; who is on the allow-list has no step at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tlsrt.config.detection import DETECTORS, DetectionConfig, Detector, Mode, detector_of
from tlsrt.supervisor.authority.detection.active_measures import ActiveMeasures
from tlsrt.supervisor.authority.detection.allow_list import AllowList
from tlsrt.supervisor.authority.detection.enumeration import EnumerationDetector
from tlsrt.supervisor.authority.detection.escalation import (
    AGAIN_MS,
    LASTING,
    LIMIT_MS,
    RESPAWNS,
    RESPAWNS_MS,
    SCORE_AFTER_RESPAWN,
    SHUT_CAP_MS,
    SHUT_FIRST_MS,
    SHUT_JITTER,
    SOURCES,
    SOURCES_MS,
    TRUSTED,
    ResponseStep,
    Taken,
    step_for,
    steps_of,
)
from tlsrt.supervisor.authority.detection.scores import Scores
from tlsrt.supervisor.authority.detection.windows import Distinct, Grace, Growing, Often
from tlsrt.supervisor.authority.model.detection_snapshot import DetectionSnapshot
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind

GRACE_MS = 5_000
REVOKED = "revoked"  # the detector
POLICY, GUESSING = "policy", "guessing"  # one wrong call, and one of many different ones
SEARCH = "one more of many calls that no policy line allows"  # the same words each time: it counts once a minute
STEPS_MAX = 2048  # in force at once; the one that would end first makes room
TRIP_POINTS = 100
COUNTS_MAX = 1_000  # of one offence in one report


@dataclass(slots=True)
class Tally:
    """What one detector has found so far: how often, and how often that counted."""

    found: int = 0
    counted: int = 0


class Scoring:
    """Weighs offences. `loops` are the names of the loops; `chance` gives 0 to 1."""

    def __init__(self, config: DetectionConfig, loops: Iterable[str], chance: Callable[[], float]) -> None:
        self._config = config
        self._loops = frozenset(loops)
        self._allowed = AllowList(config.allow)
        self._scores: Scores[Charge] = Scores()
        self._distinct: Distinct[tuple[str, Charge]] = Distinct()
        self._guesses = EnumerationDetector()
        self._grace = Grace(GRACE_MS)
        self._revoked = Grace(GRACE_MS)
        self._lasting: Growing[tuple[ResponseStep, str]] = Growing(SHUT_FIRST_MS, SHUT_CAP_MS, SHUT_JITTER, chance)
        self._respawns = {loop: Often(RESPAWNS_MS, RESPAWNS + 1) for loop in self._loops}
        self._top: dict[str, int] = {}  # loop: when it was at the top
        self._in_force = ActiveMeasures(STEPS_MAX)
        self._done: dict[tuple[ResponseStep, Charge], int] = {}  # steps without a duration: not again until
        self.tallies = {name: Tally() for name in DETECTORS}

    def begin_grace(self, now: int) -> None:
        """Note an epoch, a respawn or a reload: what is used for a moment after it is no offence."""
        self._grace.begin(now)

    def replaced(self, loop: str, now: int) -> None:
        """Note another process of a loop: of what the one before did it inherits less than ends a session."""
        for kind in (ChargeKind.PROCESS, ChargeKind.CHANNEL):
            charge = Charge(kind, loop)
            self._scores.set(charge, min(self._scores.of(charge, now), SCORE_AFTER_RESPAWN), now)

    def revoked(self, now: int) -> None:
        """Note a revocation: what was under way then is no offence."""
        self._revoked.begin(now)

    def charge(
        self, name: str, charge: Charge, now: int, *, points: int | None = None, count: int = 1, what: str = "",
        subject: str = "", is_trip: bool = False, is_over: bool = False,
    ) -> list[Taken]:  # fmt: skip
        """Weigh `count` offences of one kind; return the steps to be taken now.

        `subject` is whose session was charged, as the authority knows it. `what` is what happened, and for a detector
        that counts distinct things which thing it was. `points` are the detector's own if not given. With `is_trip`
        it counts as a trigger, whatever the table says. With `is_over` the process that did it is gone: the next one
        inherits some points, and no step.
        """
        detector = detector_of(name)
        if is_trip and not detector.is_trigger:
            detector = replace(detector, is_trigger=True, points=TRIP_POINTS)
        mode = self._config.mode_of(detector)
        if mode is Mode.IGNORE or self._config.mode is Mode.IGNORE or count < 1:
            return []
        tally = self.tallies.setdefault(detector.name, Tally()) if len(self.tallies) < 256 else Tally()
        tally.found += count
        if mode is Mode.OBSERVE or self._allowed.has(charge, subject) or not self._counts(detector, charge, what, now):
            return []
        worth = (detector.points if points is None else points) * (
            1 if detector.is_distinct else min(count, COUNTS_MAX)
        )
        if worth < 1:
            return []
        tally.counted += count
        before, after = self._scores.add(charge, worth, now)
        if is_over:
            self.replaced(charge.value, now)
            is_at_trusted = detector.is_trigger and charge.value in TRUSTED
            return self._take(ResponseStep.LOCK, detector, charge, after, what, now) if is_at_trusted else []
        taken = self._answer(detector, charge, before, after, what, now)
        if detector.name == POLICY and self._guesses.is_search(subject or charge.value, what, now):
            taken += self.charge(GUESSING, charge, now, subject=subject, what=SEARCH)
        return taken

    def _counts(self, detector: Detector, charge: Charge, what: str, now: int) -> bool:
        if detector.has_grace and self._grace.is_now(now):
            return False
        if detector.name == REVOKED and self._revoked.is_now(now):
            return False
        return not detector.is_distinct or self._distinct.is_new((detector.name, charge), what, now)

    def _answer(
        self, detector: Detector, charge: Charge, before: float, after: float, what: str, now: int
    ) -> list[Taken]:
        is_inside = charge.kind in (ChargeKind.PROCESS, ChargeKind.CHANNEL)
        is_loop = is_inside and charge.value in self._loops
        taken: list[Taken] = []
        if is_inside and detector.is_trigger and charge.value in TRUSTED:
            taken += self._take(ResponseStep.LOCK, detector, charge, after, what, now)
        steps = steps_of(charge, is_loop=is_loop, is_advised=detector.is_advisory)
        step = step_for(steps, before, after, is_trigger=detector.is_trigger)
        if step is None:
            return taken
        if step is ResponseStep.RESPAWN:
            taken += self._lock_for_many(detector, charge, after, what, now)
            if not self._may_respawn(charge.value, now):
                left = self._take(ResponseStep.QUARANTINE, detector, charge, after, what, now)
                return taken + [replace(each, is_final=True) for each in left]
        return taken + self._take(step, detector, charge, after, what, now)

    def _lock_for_many(self, detector: Detector, charge: Charge, score: float, what: str, now: int) -> list[Taken]:
        """Lock when two loops are at the top at once: then it is more than one that went astray."""
        self._top[charge.value] = now
        if sum(1 for at in self._top.values() if now - at < SOURCES_MS) < SOURCES:
            return []
        return self._take(ResponseStep.LOCK, detector, charge, score, what, now)

    def _may_respawn(self, loop: str, now: int) -> bool:
        is_under_way = now < self._done.get((ResponseStep.RESPAWN, Charge(ChargeKind.PROCESS, loop)), now)
        return is_under_way or self._respawns[loop].count(now) < RESPAWNS

    def _take(
        self, step: ResponseStep, detector: Detector, charge: Charge, score: float, what: str, now: int
    ) -> list[Taken]:
        key = (step, Charge(ChargeKind.PROCESS, charge.value) if step is ResponseStep.RESPAWN else charge)
        if key in self._in_force or now < self._done.get(key, now):
            return []
        is_observed = self._config.mode is not Mode.ACT
        taken = Taken(step, charge, detector.name, what, score, 0, is_observed)
        if step in LASTING:
            lasts = LIMIT_MS if step is ResponseStep.LIMIT else self._lasting.next((step, charge.value), now)
            taken = replace(taken, until=now + lasts)
            self._in_force.put(key, taken)
        else:
            self._done = {each: until for each, until in self._done.items() if until > now}
            self._done[key] = now + AGAIN_MS
        if step is ResponseStep.RESPAWN:
            self._respawns[charge.value].note(now)
            self._scores.set(charge, SCORE_AFTER_RESPAWN, now)
        elif step is ResponseStep.REVOKE and charge.kind is ChargeKind.SESSION:
            self._scores.set(charge, 0, now)  # it is no more
        return [taken]

    def counted(self, name: str) -> int:
        """Return how often a detector has found what counted."""
        tally = self.tallies.get(name)
        return 0 if tally is None else tally.counted

    # What outlives the authority

    def remember(self, now: int) -> DetectionSnapshot:
        """Return what another judge is to know. Whose session a session is, and who is shut out, others add."""
        return DetectionSnapshot(
            now,
            tuple((charge, score, "") for charge, score in self._scores.all(now)),
            self.in_force,
            tuple((step, whom, times, until) for (step, whom), times, until in self._lasting.all(now)),
            tuple((loop, at) for loop, often in self._respawns.items() for at in often.times),
            tuple(self._top.items()),
        )

    def recall(self, memory: DetectionSnapshot) -> None:
        """Go on from there. Sessions of that time are no more, so neither their scores nor their limits are taken."""
        for charge, score, _ in memory.scores:
            if charge.kind is not ChargeKind.SESSION:
                self._scores.set(charge, score, memory.at)
        for taken in memory.steps:
            if taken.charge.kind is not ChargeKind.SESSION:
                self._in_force.put((taken.step, taken.charge), taken)
        for step, whom, times, until in memory.lasting:
            self._lasting.put((step, whom), times, until)
        for loop, at in memory.respawns:
            if loop in self._respawns:
                self._respawns[loop].note(at)
        self._top |= {loop: at for loop, at in memory.tops if loop in self._loops}

    def inherit(self, charge: Charge, score: float, at: int) -> None:
        """Give a session what one of the same subject had when the authority died."""
        self._scores.set(charge, score, at)

    # What time and people say

    def next_due(self) -> int | None:
        """Return when `due` has something to end."""
        return self._in_force.next_due()

    def due(self, now: int) -> list[Taken]:
        """End the steps whose time is over, and return them."""
        return self._in_force.due(now)

    def release(self, value: str) -> list[Taken]:
        """End every step that somebody is under, and forget his scores; return the steps."""
        ended = self.release_steps(value)
        self._guesses.forget(value)
        for step in LASTING:
            self._lasting.forget((step, value))
        for kind in ChargeKind:
            self._scores.set(Charge(kind, value), 0, 0)
        return ended

    def release_steps(self, value: str) -> list[Taken]:
        """End every step that somebody is under; return them. His scores stay."""
        return self._in_force.release(value)

    def score(self, charge: Charge, now: int) -> float:
        return self._scores.of(charge, now)

    def scores(self, now: int) -> Iterator[tuple[Charge, float]]:
        return self._scores.all(now)

    @property
    def in_force(self) -> tuple[Taken, ...]:
        return tuple(self._in_force)

    def score_of_loop(self, loop: str, now: int) -> float:
        """Return the higher one of the scores of a loop's process and channel."""
        return max(self.score(Charge(kind, loop), now) for kind in (ChargeKind.PROCESS, ChargeKind.CHANNEL))
