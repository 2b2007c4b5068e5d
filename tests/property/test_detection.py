"""Whatever offences come in whatever order: who has no points has no step, and every step but the lock ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.detection import DETECTORS, DetectionConfig, Mode
from tlsrt.supervisor.authority.detection.escalation import LASTING, SHUT_CAP_MS, ResponseStep
from tlsrt.supervisor.authority.detection.scoring import Scoring
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind

LOOPS = ("primary", "secondary", "third")
VICTIM = "client/victim"
WHO = [
    Charge(ChargeKind.PROCESS, "third"), Charge(ChargeKind.CHANNEL, "third"), Charge(ChargeKind.CHANNEL, "secondary"),
    Charge(ChargeKind.CHANNEL, "client/offender"), Charge(ChargeKind.SESSION, "aa" * 16),
    Charge(ChargeKind.ADDRESS, "192.0.2.1"), Charge(ChargeKind.PROCESS, "primary"),
]  # fmt: skip
OFFENCE = st.tuples(
    st.sampled_from(sorted(DETECTORS)), st.sampled_from(WHO), st.integers(1, 40), st.integers(0, 30_000),
    st.text(max_size=4), st.booleans(),
)  # fmt: skip


@given(st.lists(OFFENCE, max_size=60), st.floats(0, 1))
def test_no_step_without_points_of_ones_own_and_every_step_ends(
    offences: list[tuple[str, Charge, int, int, str, bool]], chance: float
) -> None:
    court, now = Scoring(DetectionConfig(), LOOPS, lambda: chance), 0
    earned: dict[Charge, int] = {}
    for name, charge, count, pause, what, is_grace in offences:
        now += pause
        if is_grace:
            court.begin_grace(now)
        for taken in court.charge(name, charge, now, count=count, what=f"{VICTIM} {what}"):
            assert taken.charge == charge, "who is charged, and nobody else"
            assert taken.score > 0
            if taken.step in LASTING:
                assert now < taken.until <= now + SHUT_CAP_MS
            if charge.kind is ChargeKind.ADDRESS:
                assert taken.step in (ResponseStep.LIMIT, ResponseStep.BLOCK)
            if taken.step is ResponseStep.LOCK:
                assert charge.kind in (ChargeKind.PROCESS, ChargeKind.CHANNEL) and charge.value in LOOPS
        earned[charge] = earned.get(charge, 0) + DETECTORS[name].points * count
        court.due(now)
    for charge, score in court.scores(now):
        assert score <= earned[charge] + 40 + 1e-6
    for kind in ChargeKind:
        assert court.score(Charge(kind, VICTIM), now) == 0
    court.due(now + SHUT_CAP_MS)
    assert court.in_force == ()


@given(st.lists(OFFENCE, max_size=60), st.sampled_from([Mode.OBSERVE, Mode.IGNORE]))
def test_what_is_not_to_act_does_not(offences: list[tuple[str, Charge, int, int, str, bool]], mode: Mode) -> None:
    court, now = Scoring(DetectionConfig(mode=mode), LOOPS, lambda: 0.5), 0
    for name, charge, count, pause, what, _ in offences:
        now += pause
        assert all(taken.is_observed for taken in court.charge(name, charge, now, count=count, what=what))


@given(st.lists(OFFENCE, max_size=60))
def test_who_is_allowed_has_neither_points_nor_steps(offences: list[tuple[str, Charge, int, int, str, bool]]) -> None:
    allow = ("primary", "secondary", "third", "client/offender", "aa" * 16, "192.0.2.0/24")
    court, now = Scoring(DetectionConfig(allow=allow), LOOPS, lambda: 0.5), 0
    for name, charge, count, pause, what, _ in offences:
        now += pause
        assert court.charge(name, charge, now, count=count, what=what) == []
    assert list(court.scores(now)) == []
