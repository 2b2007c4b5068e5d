"""Whatever offences come in whatever order: who has no points has no step, and every step but the lock ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.detection import DETECTORS, DetectionConfig, Mode
from tlsrt.supervisor.authority.detection.escalation import LASTING, SHUT_CAP_MS, Action
from tlsrt.supervisor.authority.detection.scoring import Scoring
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind

LOOPS = ("primary", "secondary", "third")
VICTIM = "client/victim"
WHO = [
    SignalSource(SourceKind.PROCESS, "third"), SignalSource(SourceKind.CHANNEL, "third"),
    SignalSource(SourceKind.CHANNEL, "secondary"),
    SignalSource(SourceKind.CHANNEL, "client/offender"), SignalSource(SourceKind.SESSION, "aa" * 16),
    SignalSource(SourceKind.ADDRESS, "192.0.2.1"), SignalSource(SourceKind.PROCESS, "primary"),
]  # fmt: skip
OFFENCE = st.tuples(
    st.sampled_from(sorted(DETECTORS)), st.sampled_from(WHO), st.integers(1, 40), st.integers(0, 30_000),
    st.text(max_size=4), st.booleans(),
)  # fmt: skip


@given(st.lists(OFFENCE, max_size=60), st.floats(0, 1))
def test_no_step_without_points_of_ones_own_and_every_step_ends(
    offences: list[tuple[str, SignalSource, int, int, str, bool]], chance: float
) -> None:
    court, now = Scoring(DetectionConfig(), LOOPS, lambda: chance), 0
    earned: dict[SignalSource, int] = {}
    for name, source, count, pause, what, is_grace in offences:
        now += pause
        if is_grace:
            court.begin_grace(now)
        for applied in court.signal(name, source, now, count=count, what=f"{VICTIM} {what}"):
            assert applied.source == source, "who is charged, and nobody else"
            assert applied.score > 0
            if applied.action in LASTING:
                assert now < applied.until <= now + SHUT_CAP_MS
            if source.kind is SourceKind.ADDRESS:
                assert applied.action in (Action.LIMIT, Action.BLOCK)
            if applied.action is Action.LOCK:
                assert source.kind in (SourceKind.PROCESS, SourceKind.CHANNEL) and source.value in LOOPS
        earned[source] = earned.get(source, 0) + DETECTORS[name].points * count
        court.due(now)
    for source, score in court.scores(now):
        assert score <= earned[source] + 40 + 1e-6
    for kind in SourceKind:
        assert court.score(SignalSource(kind, VICTIM), now) == 0
    court.due(now + SHUT_CAP_MS)
    assert court.active == ()


@given(st.lists(OFFENCE, max_size=60), st.sampled_from([Mode.OBSERVE, Mode.IGNORE]))
def test_what_is_not_to_act_does_not(offences: list[tuple[str, SignalSource, int, int, str, bool]], mode: Mode) -> None:
    court, now = Scoring(DetectionConfig(mode=mode), LOOPS, lambda: 0.5), 0
    for name, source, count, pause, what, _ in offences:
        now += pause
        assert all(applied.is_observed for applied in court.signal(name, source, now, count=count, what=what))


@given(st.lists(OFFENCE, max_size=60))
def test_who_is_allowed_has_neither_points_nor_steps(
    offences: list[tuple[str, SignalSource, int, int, str, bool]],
) -> None:
    allow = ("primary", "secondary", "third", "client/offender", "aa" * 16, "192.0.2.0/24")
    court, now = Scoring(DetectionConfig(allow=allow), LOOPS, lambda: 0.5), 0
    for name, source, count, pause, what, _ in offences:
        now += pause
        assert court.signal(name, source, now, count=count, what=what) == []
    assert list(court.scores(now)) == []
