"""Scoring: signals in, actions out. Pure, and bounded in memory. Times are BOOTTIME in ms.

Rules, held by the property tests: no action without points of the source's own; what a peer names, but is not what the
signal came over, has none; every action but the lock has an end; what is on the allow-list is under no action at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from tlsrt.config.detection import DETECTORS, DetectionConfig, Detector, Mode, detector_of
from tlsrt.supervisor.authority.detection.active_actions import ActiveActions
from tlsrt.supervisor.authority.detection.allow_list import AllowList
from tlsrt.supervisor.authority.detection.enumeration import EnumerationDetector
from tlsrt.supervisor.authority.detection.escalation import (
    AGAIN_MS,
    LASTING,
    LIMIT_MS,
    LOCKING,
    RESPAWNS,
    RESPAWNS_MS,
    SCORE_AFTER_RESPAWN,
    SHUT_CAP_MS,
    SHUT_FIRST_MS,
    SHUT_JITTER,
    SOURCES,
    SOURCES_MS,
    TRUSTED,
    Action,
    AppliedAction,
    action_for,
    thresholds_of,
)
from tlsrt.supervisor.authority.detection.scores import Scores
from tlsrt.supervisor.authority.detection.windows import DistinctCounter, EventWindow, GracePeriod, GrowingDuration
from tlsrt.supervisor.authority.model.detection_snapshot import DetectionSnapshot
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind

GRACE_MS = 5_000
REVOKED = "revoked"  # the detector
POLICY, GUESSING = "policy", "guessing"  # one wrong call, and one of many different ones
SEARCH = "one more of many calls that no policy line allows"  # the same words each time: it counts once a minute
ACTIONS_MAX = 2048  # active at once; the one that would end first makes room
TRIGGER_POINTS = 100
COUNTS_MAX = 1_000  # of one signal in one report


@dataclass(slots=True)
class DetectorCount:
    """What one detector has found so far: how often, and how often that counted."""

    found: int = 0
    counted: int = 0


class Scoring:
    """Scores signals. `loops` are the names of the loops, which may change; `chance` gives 0 to 1."""

    def __init__(self, config: DetectionConfig, loops: Collection[str], chance: Callable[[], float]) -> None:
        self._config = config
        self._loops = loops
        self._allowed = AllowList(config.allow)
        self._scores: Scores[SignalSource] = Scores()
        self._distinct: DistinctCounter[tuple[str, SignalSource]] = DistinctCounter()
        self._enumeration = EnumerationDetector()
        self._grace = GracePeriod(GRACE_MS)
        self._revoked = GracePeriod(GRACE_MS)
        self._durations: GrowingDuration[tuple[Action, str]] = GrowingDuration(
            SHUT_FIRST_MS, SHUT_CAP_MS, SHUT_JITTER, chance
        )
        self._respawns: dict[str, EventWindow] = {}
        self._top: dict[str, int] = {}  # loop: when it was at the top
        self._active = ActiveActions(ACTIONS_MAX)
        self._done: dict[tuple[Action, SignalSource], int] = {}  # actions without a duration: not again until
        self.detector_counts = {name: DetectorCount() for name in DETECTORS}

    def begin_grace(self, now: int) -> None:
        """Note an epoch, a respawn or a reload: what is used for a moment after it is no signal."""
        self._grace.begin(now)

    def replaced(self, loop: str, now: int) -> None:
        """Note another process of a loop: it inherits less of the score than ends a session."""
        for kind in (SourceKind.PROCESS, SourceKind.CHANNEL):
            source = SignalSource(kind, loop)
            self._scores.set(source, min(self._scores.of(source, now), SCORE_AFTER_RESPAWN), now)

    def revoked(self, now: int) -> None:
        """Note a revocation: what was in flight then is no signal."""
        self._revoked.begin(now)

    def signal(
        self, name: str, source: SignalSource, now: int, *, points: int | None = None, count: int = 1, what: str = "",
        subject: str = "", is_trigger: bool = False, is_over: bool = False,
    ) -> list[AppliedAction]:  # fmt: skip
        """Score `count` signals of one detector; return the actions to be taken now.

        `subject` is whose session the source is, as the authority knows it. `what` is what happened, and for a detector
        that counts distinct things which thing it was. `points` are the detector's own if not given. With `is_trip`
        it counts as a trigger, whatever the table says. With `is_over` the process that did it has ended: the next
        one inherits some points, and no action.
        """
        detector = detector_of(name)
        if is_trigger and not detector.is_trigger:
            detector = replace(detector, is_trigger=True, points=TRIGGER_POINTS)
        mode = self._config.mode_of(detector)
        if mode is Mode.IGNORE or self._config.mode is Mode.IGNORE or count < 1:
            return []
        counts = (
            self.detector_counts.setdefault(detector.name, DetectorCount())
            if len(self.detector_counts) < 256
            else DetectorCount()
        )
        counts.found += count
        if mode is Mode.OBSERVE or self._allowed.has(source, subject) or not self._counts(detector, source, what, now):
            return []
        worth = (detector.points if points is None else points) * (
            1 if detector.is_distinct else min(count, COUNTS_MAX)
        )
        if worth < 1:
            return []
        counts.counted += count
        before, after = self._scores.add(source, worth, now)
        if is_over:
            self.replaced(source.value, now)
            is_at_trusted = detector.is_trigger and source.value in TRUSTED
            return self._apply(Action.LOCK, detector, source, after, what, now) if is_at_trusted else []
        applied = self._answer(detector, source, before, after, what, now)
        if detector.name == POLICY and self._enumeration.is_search(subject or source.value, what, now):
            applied += self.signal(GUESSING, source, now, subject=subject, what=SEARCH)
        return applied

    def _counts(self, detector: Detector, source: SignalSource, what: str, now: int) -> bool:
        if detector.has_grace and self._grace.is_now(now):
            return False
        if detector.name == REVOKED and self._revoked.is_now(now):
            return False
        return not detector.is_distinct or self._distinct.is_new((detector.name, source), what, now)

    def _answer(
        self, detector: Detector, source: SignalSource, before: float, after: float, what: str, now: int
    ) -> list[AppliedAction]:
        is_inside = source.kind in (SourceKind.PROCESS, SourceKind.CHANNEL)
        is_loop = is_inside and source.value in self._loops
        may_lock = source.kind in LOCKING
        applied: list[AppliedAction] = []
        if may_lock and detector.is_trigger and source.value in TRUSTED:
            applied += self._apply(Action.LOCK, detector, source, after, what, now)
        actions = thresholds_of(source, is_loop=is_loop, is_advised=detector.is_advisory)
        action = action_for(actions, before, after, is_trigger=detector.is_trigger)
        if action is None:
            return applied
        if action is Action.RESPAWN:
            if may_lock:
                applied += self._lock_for_many(detector, source, after, what, now)
            if not self._may_respawn(source.value, now):
                left = self._apply(Action.QUARANTINE, detector, source, after, what, now)
                return applied + [replace(each, is_final=True) for each in left]
        if action is Action.LOCK and source.kind is SourceKind.ALERT:
            self._scores.set(source, 0, now)  # answered: after an unlock the next 100 points lock again
        return applied + self._apply(action, detector, source, after, what, now)

    def _lock_for_many(
        self, detector: Detector, source: SignalSource, score: float, what: str, now: int
    ) -> list[AppliedAction]:
        """Lock when two loops are at the top at once: then it is more than one that went astray."""
        self._top[source.value] = now
        if sum(1 for at in self._top.values() if now - at < SOURCES_MS) < SOURCES:
            return []
        return self._apply(Action.LOCK, detector, source, score, what, now)

    def _may_respawn(self, loop: str, now: int) -> bool:
        is_under_way = now < self._done.get((Action.RESPAWN, SignalSource(SourceKind.PROCESS, loop)), now)
        return is_under_way or self._respawns_of(loop).count(now) < RESPAWNS

    def _respawns_of(self, loop: str) -> EventWindow:
        return self._respawns.setdefault(loop, EventWindow(RESPAWNS_MS, RESPAWNS + 1))

    def _apply(
        self, action: Action, detector: Detector, source: SignalSource, score: float, what: str, now: int
    ) -> list[AppliedAction]:
        key = (action, SignalSource(SourceKind.PROCESS, source.value) if action is Action.RESPAWN else source)
        if key in self._active or now < self._done.get(key, now):
            return []
        is_observed = self._config.mode is not Mode.ACT
        applied = AppliedAction(action, source, detector.name, what, score, 0, is_observed)
        if action in LASTING:
            lasts = LIMIT_MS if action is Action.LIMIT else self._durations.next((action, source.value), now)
            applied = replace(applied, until=now + lasts)
            self._active.put(key, applied)
        else:
            self._done = {each: until for each, until in self._done.items() if until > now}
            self._done[key] = now + AGAIN_MS
        if action is Action.RESPAWN:
            self._respawns_of(source.value).note(now)
            self._scores.set(source, SCORE_AFTER_RESPAWN, now)
        elif action is Action.REVOKE and source.kind is SourceKind.SESSION:
            self._scores.set(source, 0, now)  # it is no more
        return [applied]

    def counted(self, name: str) -> int:
        """Return how often a detector has found what counted."""
        counts = self.detector_counts.get(name)
        return 0 if counts is None else counts.counted

    # What outlives the authority

    def remember(self, now: int) -> DetectionSnapshot:
        """Return what another authority is to know. Whose session a session is, and who is blocked, others add."""
        return DetectionSnapshot(
            now,
            tuple((source, score, "") for source, score in self._scores.all(now)),
            self.active,
            tuple((action, whom, times, until) for (action, whom), times, until in self._durations.all(now)),
            tuple((loop, at) for loop, often in self._respawns.items() for at in often.times),
            tuple(self._top.items()),
        )

    def recall(self, snapshot: DetectionSnapshot) -> None:
        """Go on from there. Sessions of that time are no more, so neither their scores nor their limits are taken."""
        for source, score, _ in snapshot.scores:
            if source.kind is not SourceKind.SESSION:
                self._scores.set(source, score, snapshot.at)
        for applied in snapshot.actions:
            if applied.source.kind is not SourceKind.SESSION:
                self._active.put((applied.action, applied.source), applied)
        for action, whom, times, until in snapshot.lasting:
            self._durations.put((action, whom), times, until)
        for loop, at in snapshot.respawns:
            if loop in self._loops:
                self._respawns_of(loop).note(at)
        self._top |= {loop: at for loop, at in snapshot.tops if loop in self._loops}

    def inherit(self, source: SignalSource, score: float, at: int) -> None:
        """Give a session what one of the same subject had when the authority died."""
        self._scores.set(source, score, at)

    # Time, and the operator

    def next_due(self) -> int | None:
        """Return when `due` has something to end."""
        return self._active.next_due()

    def due(self, now: int) -> list[AppliedAction]:
        """End the actions whose time is over, and return them."""
        return self._active.due(now)

    def release(self, value: str) -> list[AppliedAction]:
        """End every action against a source, and forget its scores; return the actions."""
        ended = self.release_actions(value)
        self._enumeration.forget(value)
        for action in LASTING:
            self._durations.forget((action, value))
        for kind in SourceKind:
            self._scores.set(SignalSource(kind, value), 0, 0)
        return ended

    def release_actions(self, value: str) -> list[AppliedAction]:
        """End every action against a source; return them. Its scores stay."""
        return self._active.release(value)

    def score(self, source: SignalSource, now: int) -> float:
        return self._scores.of(source, now)

    def scores(self, now: int) -> Iterator[tuple[SignalSource, float]]:
        return self._scores.all(now)

    @property
    def active(self) -> tuple[AppliedAction, ...]:
        return tuple(self._active)

    def score_of_loop(self, loop: str, now: int) -> float:
        """Return the higher one of the scores of a loop's process and channel."""
        return max(self.score(SignalSource(kind, loop), now) for kind in (SourceKind.PROCESS, SourceKind.CHANNEL))
