"""The learned detector advises: its points alone never end a session, and a change of the host is charged to nobody."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.budget import Budget
from tlsrt.channels.clock import Moment
from tlsrt.channels.control.learner import FEATURES, AdviceMessage, WeighMessage
from tlsrt.channels.control.telemetry import LOOKS, WINDOW_MS, Window, pack_rows
from tlsrt.config.detection import DetectionConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.detection.anomaly_detector import (
    DETECTOR,
    MANY,
    MUCH,
    MUCH_EVERY_MS,
    MUCH_POINTS,
    POINTS,
    POINTS_EVERY_MS,
    ROWS,
    SUBJECTS_MAX,
    AnomalyDetector,
)
from tlsrt.supervisor.authority.detection.escalation import THRESHOLDS, Action
from tlsrt.supervisor.authority.detection.scoring import Scoring
from tlsrt.supervisor.authority.model.ports import Detail, SignalSource, SourceKind
from tlsrt.supervisor.authority.sessions.manager import SessionManager
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.sources import OF_AUTHORITY
from tlsrt.supervisor.learner.anomaly_model import AnomalyModel, Opinion
from tlsrt.supervisor.learner.main import weighed
from tlsrt.supervisor.messages.score import faded

USUAL = Window(40, 12_000, 16_000, 0, 0, 0, 2, LOOKS, 8)
WILD = Window(4000, 1_200_000, 160_000_000, (1 << 20) - 1, 31, 90, 900, LOOKS, 800)
ENDS_A_SESSION = 50  # points: supervisor/authority/detection/escalation.py


class Convinced(AnomalyModel):
    """Thinks that everything is unusual, by so many bits in turn."""

    def __init__(self, bits: Sequence[float] = (90_000.0,)) -> None:
        super().__init__()
        self._bits = itertools.cycle(bits)

    def observe(self, name: str, kind: str, window: Window, now: int) -> Opinion:
        super().observe(name, kind, window, now)
        return Opinion(True, next(self._bits) / 1000, 80.0, 1.0, ())


class Office:
    """A desk, its sessions, and what it says."""

    def __init__(self, clients: int = 6, model: AnomalyModel | None = None) -> None:
        manager = SessionManager(random.Random(1).randbytes)
        self.sessions = [manager.open_client(f"client/c{number}", b"f" * 32, 0) for number in range(clients)]
        self.sessions.append(manager.open_component("third/console", "third", 0))
        self.points: list[tuple[int, SignalSource, int, Detail]] = []
        self.events: list[tuple[str, str, str]] = []
        self.now = 0
        self.model = AnomalyModel() if model is None else model
        self.is_answered = True
        self.asked: list[WeighMessage] = []
        self.desk = AnomalyDetector(manager, self, self, cast("Any", self), random.Random(2).randbytes)

    def tell(self, name: str, *fields: Any) -> None:
        """Be the supervisor and the learner."""
        self.asked.append(WeighMessage(*fields))
        if self.is_answered:
            self.desk.advised(weighed(self.model, self.asked[-1]), Moment(self.now, self.now))

    def note(self, name: str, subject: str, words: str = "", /, **fields: str | int) -> None:
        self.events.append((name, subject, words))

    def trigger(self, detector: str, source: SignalSource, detail: Detail, moment: Moment) -> None:
        raise AssertionError("it is advisory")

    def over_budget(self, subject: str, budget: Budget, moment: Moment) -> None:
        pass

    def add(self, detector: str, source: SignalSource, points: int, detail: Detail, moment: Moment) -> None:
        self.points.append((moment.now, source, points, detail))

    def window(self, *windows: Window, elapsed: int = WINDOW_MS) -> None:
        self.now += elapsed
        rows = [(session.session_id, window) for session, window in zip(self.sessions, windows, strict=False)]
        self.desk.heard(pack_rows(rows), Moment(self.now, self.now))

    def teach(self) -> None:
        for _ in range(70):
            self.window(*[USUAL] * len(self.sessions))
        assert not self.points and not self.events


def test_one_session_is_unusual() -> None:
    office = Office()
    office.teach()
    office.window(WILD, *[USUAL] * 6)
    [(_, source, points, detail)] = office.points
    assert source == SignalSource(SourceKind.SESSION, office.sessions[0].session_id.hex())
    assert points == MUCH_POINTS
    assert detail["subject"] == "client/c0"
    [(name, subject, words)] = office.events
    assert (name, subject) == ("unusual", "client/c0")
    assert name in EVENTS and name in OF_AUTHORITY
    assert "usually" in words and words == detail["why"]


def test_one_window_that_is_much_limits_and_little_has_to_go_on() -> None:
    for bits, points, every_ms in ((MUCH, MUCH_POINTS, MUCH_EVERY_MS), (MUCH - 1000, POINTS, POINTS_EVERY_MS)):
        office = Office(1, Convinced([bits]))
        for elapsed in (1, every_ms - 1, 1):
            office.window(WILD, elapsed=elapsed)
        assert [(now, worth) for now, _, worth, _ in office.points] == [(1, points), (every_ms + 1, points)]
    assert THRESHOLDS[SourceKind.SESSION][0] == (MUCH_POINTS, Action.LIMIT)


@given(
    st.lists(st.integers(0, 3 * POINTS_EVERY_MS), min_size=1, max_size=200),
    st.lists(st.sampled_from([MUCH, MUCH - 1000]), min_size=1, max_size=20),
)
@settings(deadline=None, max_examples=40)
def test_its_points_alone_never_end_a_session(pauses: list[int], bits: list[float]) -> None:
    office = Office(1, Convinced(bits))
    score, before = 0.0, 0
    for pause in pauses:
        office.window(WILD, elapsed=pause)
        for now, _, points, _ in office.points:
            score = faded(score, now - before) + points
            before = now
            assert score < ENDS_A_SESSION * 0.7
        office.points.clear()


def test_convinced_for_an_hour_of_every_session_it_limits_them_and_locks_nothing() -> None:
    """The judge of production hears all of it, of fewer sessions than would be the host's own change."""
    office = Office(MANY - 2, Convinced())
    scoring = Scoring(DetectionConfig(), ("primary", "third"), random.Random(1).random)
    actions: Counter[Action] = Counter()
    for _ in range(3_600_000 // WINDOW_MS):
        office.window(*[WILD] * len(office.sessions))
        for now, source, points, _ in office.points:
            actions.update(applied.action for applied in scoring.signal(DETECTOR, source, now, points=points))
        office.points.clear()
        scoring.due(office.now)
    assert set(actions) == {Action.LIMIT}


def test_a_session_that_follows_another_starts_no_new_count() -> None:
    """The cap is one subject's: whoever opens sessions without end is not charged faster."""
    office = Office(1, Convinced())
    office.sessions = [office.sessions[0]] * 2
    office.window(WILD, WILD)
    assert len(office.points) == 1


def test_a_change_of_the_whole_host_is_charged_to_nobody() -> None:
    office = Office()
    office.teach()
    office.window(*[WILD] * len(office.sessions))
    assert not office.points
    assert office.events == [("unusual", "host", "7 of 7 sessions at once")]
    office = Office()
    office.teach()
    office.window(*[WILD] * (MANY - 1), *[USUAL] * 4)
    assert len(office.points) == MANY - 1


def test_a_session_that_has_ended_is_nobodys() -> None:
    office = Office(1)
    office.desk.heard(pack_rows([(bytes(16), WILD)]), Moment(1, 1))
    assert not office.asked


def test_a_flood_of_rows_costs_no_more_than_an_honest_primary() -> None:
    office = Office(1)
    seen = 0
    office.desk._sessions = SessionManager(bytes)
    for _ in range(1000):
        before = office.desk._rows.left
        office.desk.heard(pack_rows([(office.sessions[0].session_id, USUAL)] * 100), Moment(1, 1))
        seen += office.desk._rows.left < before
    assert seen == ROWS // 100


@pytest.mark.parametrize("content", [[[]], [[bytes(16), 1]], [None], [pack_rows([(bytes(15), USUAL)])[0]]])
def test_what_is_no_telemetry_is_an_offence(content: list[Any]) -> None:
    with pytest.raises(PeerError):
        Office(1).desk.heard(content, Moment(1, 1))


def lie(office: Office, known: int, unusual: list[Any]) -> None:
    """Answer the last question as a captured learner would."""
    office.desk.advised(AdviceMessage(office.asked[-1].number, known, unusual), Moment(office.now, office.now))


REASON = [0, 1, 1]


@pytest.mark.parametrize(
    ("known", "unusual"),
    [
        (2, [[7, 1, [REASON]]]),  # of a row that it was not asked about
        (2, [[0, 1, []], [0, 1, []]]),
        (2, [[1, 1, []], [0, 1, []]]),
        (0, [[0, 1, []]]),
        (8, []),
        (-1, []),
        (2, [[0, float("nan"), []]]),
        (2, [[0, -1, []]]),
        (2, [[0, True, []]]),
        (2, [[0, 1 << 63, []]]),
        (2, [[0, 1, [[len(FEATURES), 1, 1]]]]),
        (2, [[0, 1, [REASON] * 4]]),
        (2, [[0, 1, [["words", 1, 1]]]]),
        (2, [["client/c0", 1, []]]),
        (2, [b"row"]),
    ],
)
def test_what_is_no_advice_is_refused(known: int, unusual: list[Any]) -> None:
    office = Office()
    office.is_answered = False
    office.window(*[USUAL] * 7)
    with pytest.raises(PeerError):
        lie(office, known, unusual)
    assert not office.points and not office.events


def test_a_learner_hears_of_no_name_and_of_no_session() -> None:
    office = Office()
    office.window(*[USUAL] * 7)
    told = repr(office.asked)
    assert not any(session.subject in told or repr(session.session_id) in told for session in office.sessions)
    assert office.asked[0].clients == 6
    ids = [row[0] for row in office.asked[0].rows]
    office.window(*[USUAL] * 7)
    assert [row[0] for row in office.asked[1].rows] == ids and len(set(ids)) == 7


def test_a_learner_that_lies_for_an_hour_charges_a_few_subjects_and_a_silent_one_none() -> None:
    office = Office(60)
    office.is_answered = False
    for at in range(3_600_000 // WINDOW_MS):
        office.window(*[USUAL] * 61)
        three = sorted((3 * at + step) % 61 for step in range(3))  # so many are no change of the host
        lie(office, 61, [[row, 90_000, [REASON]] for row in three])
    window = 600_000
    for begin in range(0, 3_600_000, window):
        charged = {detail["subject"] for now, _, _, detail in office.points if begin < now <= begin + window}
        assert 0 < len(charged) <= 2 * SUBJECTS_MAX
    assert len(office.events) <= 2 * SUBJECTS_MAX * 6
    before = len(office.points)
    for _ in range(100):
        office.window(*[WILD] * 61)
    assert len(office.points) == before and len(office.desk._asked) <= 16


def test_an_answer_that_comes_twice_or_too_late_is_none() -> None:
    office = Office(1)
    office.is_answered = False
    office.window(WILD)
    lie(office, 1, [[0, 90_000, [REASON]]])
    lie(office, 1, [[0, 90_000, [REASON]]])
    assert len(office.points) == 1
    for _ in range(20):
        office.window(WILD)
    first = office.asked[1]
    office.desk.advised(AdviceMessage(first.number, 1, [[0, 90_000, []]]), Moment(office.now, office.now))
    assert len(office.points) == 1
