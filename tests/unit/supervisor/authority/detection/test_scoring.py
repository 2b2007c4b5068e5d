"""The judge: which step follows from which offences, and from which none. Time and chance are the test's."""

from __future__ import annotations

from tlsrt.config.detection import DETECTORS, DetectionConfig, DetectorConfig, Mode
from tlsrt.supervisor.authority.detection.enumeration import FREE, KEPT, WINDOW_MS, EnumerationDetector
from tlsrt.supervisor.authority.detection.escalation import (
    AGAIN_MS,
    LADDER,
    LIMIT_MS,
    RESPAWNS,
    RESPAWNS_MS,
    SHUT_CAP_MS,
    SHUT_FIRST_MS,
    SOURCES_MS,
    ResponseStep,
    Taken,
)
from tlsrt.supervisor.authority.detection.scores import Scores
from tlsrt.supervisor.authority.detection.scoring import GRACE_MS, STEPS_MAX, Scoring
from tlsrt.supervisor.authority.detection.windows import Distinct, Growing
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind
from tlsrt.supervisor.messages.score import HALF_LIFE_MS

LOOPS = ("primary", "secondary", "third")
STORE = Charge(ChargeKind.CHANNEL, "secondary/store")
THIRD = Charge(ChargeKind.PROCESS, "third")
SESSION = Charge(ChargeKind.SESSION, "ab" * 16)
STRANGER = Charge(ChargeKind.ADDRESS, "192.0.2.1")


def judge(chance: float = 0.5, **settings: object) -> Scoring:
    return Scoring(DetectionConfig(**settings), LOOPS, lambda: chance)  # type: ignore[arg-type]


def steps(taken: list[Taken]) -> list[ResponseStep]:
    return [each.step for each in taken]


def test_an_address_is_limited_then_blocked_and_never_more() -> None:
    court = judge()
    taken = [step for _ in range(400) for step in steps(court.charge("tls_garbage", STRANGER, 1000))]
    assert taken == [ResponseStep.LIMIT, ResponseStep.BLOCK]
    assert court.score(STRANGER, 1000) == 800
    assert [each.until for each in court.in_force] == [1000 + LIMIT_MS, 1000 + SHUT_FIRST_MS]


def test_a_block_grows_is_capped_jittered_and_begins_anew_after_a_quiet_time() -> None:
    court, now, lasted = judge(), 0, []
    for _ in range(9):
        (block,) = court.charge("tls_garbage", STRANGER, now, count=100)
        lasted.append(block.until - now)
        now = block.until
        assert [each.step for each in court.due(now)] == [ResponseStep.BLOCK]
    assert lasted[:3] == [60_000, 120_000, 240_000] and lasted[-1] == SHUT_CAP_MS
    now += SHUT_CAP_MS + 1
    assert court.charge("tls_garbage", STRANGER, now, count=100)[0].until == now + 60_000
    for chance, least, most in ((0.0, 48_000, 48_000), (1.0, 72_000, 72_000)):
        lasts = judge(chance).charge("tls_garbage", STRANGER, 0, count=100)[0].until
        assert least <= lasts <= most


def test_a_block_that_ended_begins_again_with_the_next_offence_if_the_score_is_still_high() -> None:
    court = judge()
    (block,) = court.charge("tls_garbage", STRANGER, 0, count=1000)
    assert court.due(block.until) == [block]
    assert steps(court.charge("tls_garbage", STRANGER, block.until)) == [ResponseStep.BLOCK]


def test_a_forged_frame_ends_the_session_it_came_over() -> None:
    court = judge()
    assert steps(court.charge("bad_tag", SESSION, 5)) == [ResponseStep.REVOKE]
    assert court.score(SESSION, 5) == 0, "it is no more"


def test_every_trigger_takes_its_step_at_once_and_again_when_it_comes_again() -> None:
    for name, detector in DETECTORS.items():
        if not detector.is_trigger:
            continue
        court = judge()
        expected = ResponseStep.RESPAWN if detector.points >= 100 else ResponseStep.REVOKE
        assert steps(court.charge(name, THIRD, 0)) == [expected], name
        if expected is ResponseStep.RESPAWN:
            assert court.charge(name, THIRD, AGAIN_MS - 1) == [], "one attack comes in several reports"
        assert court.charge(name, THIRD, AGAIN_MS) != [], name


def test_a_loop_is_respawned_three_times_in_ten_minutes_and_then_left_in_quarantine() -> None:
    court, now, taken = judge(), 0, []
    for _ in range(RESPAWNS + 1):
        now += SOURCES_MS
        taken += steps(court.charge("foreign_token", THIRD, now))
    assert taken == [ResponseStep.RESPAWN] * RESPAWNS + [ResponseStep.QUARANTINE]
    assert court.next_due() == now + SHUT_FIRST_MS, "and that ends by itself as well"
    now += RESPAWNS_MS
    assert court.due(now)
    assert steps(court.charge("foreign_token", THIRD, now)) == [ResponseStep.RESPAWN]


def test_two_loops_at_the_top_within_a_minute_lock_the_host_and_one_alone_never_does() -> None:
    court = judge()
    for at in range(4):
        assert ResponseStep.LOCK not in steps(court.charge("foreign_token", THIRD, at * 5_000))
    both = court.charge("bad_tag", Charge(ChargeKind.CHANNEL, "secondary"), 20_000, count=2)
    assert steps(both) == [ResponseStep.LOCK, ResponseStep.RESPAWN]
    late = judge()
    late.charge("foreign_token", THIRD, 0)
    assert ResponseStep.LOCK not in steps(
        late.charge("foreign_token", Charge(ChargeKind.PROCESS, "secondary"), SOURCES_MS)
    )


def test_any_trigger_at_the_trusted_locks_the_host_and_what_is_none_does_not() -> None:
    for name in ("primary", "authority", "supervisor"):
        assert ResponseStep.LOCK in steps(judge().charge("seccomp_kill", Charge(ChargeKind.PROCESS, name), 0))
    assert ResponseStep.LOCK not in steps(judge().charge("bad_tag", Charge(ChargeKind.PROCESS, "primary"), 0, count=9))
    for charge in (STRANGER, SESSION, STORE, THIRD, Charge(ChargeKind.ADDRESS, "primary")):
        assert ResponseStep.LOCK not in steps(judge().charge("decoy_method", charge, 0))


def test_what_is_no_loop_is_shut_out_and_not_respawned() -> None:
    for charge in (STORE, SESSION, Charge(ChargeKind.CHANNEL, "client/admin")):
        assert steps(judge().charge("decoy_method", charge, 0)) == [ResponseStep.QUARANTINE]


def test_what_is_advised_ends_a_session_at_most() -> None:
    court = judge()
    taken = [step for at in range(40) for step in steps(court.charge("learned", THIRD, at, points=20))]
    assert set(taken) <= {ResponseStep.LIMIT, ResponseStep.REVOKE}
    assert steps(court.charge("learned", STRANGER, 0, points=500)) == [ResponseStep.BLOCK]


def test_the_same_refused_call_counts_once_a_minute_and_different_ones_each() -> None:
    court = judge()
    for at in range(1000):
        court.charge("policy", SESSION, at, count=50, what="secondary/store wipe")
    assert court.score(SESSION, 1000) < 5.1
    taken = [step for n in range(10) for step in steps(court.charge("policy", SESSION, 1000, what=f"method {n}"))]
    assert taken == [ResponseStep.LIMIT, ResponseStep.REVOKE]


def test_whoever_guesses_slowly_is_limited_and_whoever_has_a_few_mistakes_is_not() -> None:
    """Each guess comes when the one before has faded: without a longer memory, nothing would ever follow."""
    court, hour = judge(), 3_600_000
    taken = [
        court.charge("policy", SESSION, n * hour // 2, what=f"method {n % 3}", subject="client/guest")
        for n in range(40)
    ]
    assert not any(taken), "three mistakes, again and again"
    other = Charge(ChargeKind.SESSION, "cd" * 16)  # another session of the same client
    [guess] = court.charge("policy", other, 20 * hour, what="method 3", subject="client/guest")
    assert (guess.step, guess.detector, guess.charge) == (ResponseStep.LIMIT, "guessing", other)
    assert court.charge("policy", other, 20 * hour + LIMIT_MS, what="method 3", subject="client/guest") == []
    court.due(21 * hour)
    assert steps(court.charge("policy", other, 21 * hour, what="method 4", subject="client/guest")) == [
        ResponseStep.LIMIT
    ]
    court.due(22 * hour)
    court.release("client/guest")
    assert court.charge("policy", other, 22 * hour, what="method 5", subject="client/guest") == []


def test_what_was_asked_for_half_a_day_ago_is_forgotten_and_so_is_who_was_silent_longest() -> None:
    guesses = EnumerationDetector(most=2)
    assert [guesses.is_search("a", str(n), n) for n in range(FREE + 1)] == [False] * FREE + [True]
    assert not guesses.is_search("a", "new", WINDOW_MS + 120_000)
    for n in range(100):
        guesses.is_search("a", str(n), WINDOW_MS)
    assert len(guesses._things["a"]) == KEPT
    guesses.is_search("b", "x", 0)
    guesses.is_search("c", "x", 0)
    assert len(guesses) == 2 and not guesses.is_search("a", "y", WINDOW_MS)


def test_calls_that_end_to_be_allowed_all_at_once_are_one_guess() -> None:
    court = judge()
    taken = [each for n in range(5) for each in steps(court.charge("policy", SESSION, n, what=f"method {n}"))]
    assert taken == [ResponseStep.LIMIT] and court.score(SESSION, 5) < 46


def test_grace_forgives_only_what_the_innocent_do_for_a_moment() -> None:
    court = judge()
    court.begin_grace(1000)
    assert court.charge("revoked", SESSION, 1000 + GRACE_MS - 1, count=99) == []
    assert steps(court.charge("bad_tag", SESSION, 1001)) == [ResponseStep.REVOKE]
    assert steps(court.charge("revoked", SESSION, 1000 + GRACE_MS, count=2)) == [ResponseStep.LIMIT]
    assert court.tallies["revoked"].found == 101 and court.tallies["revoked"].counted == 2


def test_an_observed_detector_is_counted_and_does_nothing_and_one_that_is_off_is_not_counted() -> None:
    court = judge(detectors={"bad_tag": DetectorConfig(Mode.OBSERVE), "replay": DetectorConfig(Mode.IGNORE)})
    assert court.charge("bad_tag", THIRD, 0, count=50) == court.charge("replay", THIRD, 0, count=50) == []
    assert court.score(THIRD, 0) == 0
    assert (court.tallies["bad_tag"].found, court.tallies["bad_tag"].counted) == (50, 0)
    assert court.tallies["replay"].found == 0


def test_when_all_is_observed_steps_are_told_as_what_would_have_been() -> None:
    taken = judge(mode=Mode.OBSERVE).charge("foreign_token", THIRD, 0)
    assert [(each.step, each.is_observed) for each in taken] == [(ResponseStep.RESPAWN, True)]
    assert judge(mode=Mode.IGNORE).charge("foreign_token", THIRD, 0) == []


def test_the_allow_list_has_networks_and_names() -> None:
    court = judge(allow=("192.0.2.0/24", "2001:db8::1", "client/probe", "third"))
    for charge in (STRANGER, Charge(ChargeKind.ADDRESS, "2001:db8::/64"), THIRD):
        assert court.charge("decoy_endpoint", charge, 0) == [] and court.score(charge, 0) == 0
    assert court.charge("decoy_method", SESSION, 0, subject="client/probe") == []
    assert court.charge("decoy_method", SESSION, 0, subject="client/other")
    assert court.charge("decoy_endpoint", Charge(ChargeKind.ADDRESS, "198.51.100.7"), 0)
    assert judge().charge("decoy_endpoint", Charge(ChargeKind.ADDRESS, "127.0.0.1"), 0) == [], "the usual list"


def test_who_is_released_has_no_step_and_no_score() -> None:
    court = judge()
    court.charge("decoy_method", STORE, 0)
    assert steps(court.release(STORE.value)) == [ResponseStep.QUARANTINE]
    assert court.score(STORE, 0) == 0 and court.in_force == () and court.next_due() is None
    assert court.charge("decoy_method", STORE, 0)[0].until == SHUT_FIRST_MS, "nor a longer one the next time"


def test_a_detector_that_nobody_knows_counts_what_it_is_told_to() -> None:
    assert steps(judge().charge("another", THIRD, 0, points=60)) == [ResponseStep.REVOKE]
    assert judge().charge("another", THIRD, 0) == []


def test_memory_is_bounded_whoever_comes() -> None:
    court = judge()
    for n in range(STEPS_MAX + 100):
        court.charge("decoy_endpoint", Charge(ChargeKind.ADDRESS, f"2001:db8:{n:x}::/64"), n)
    assert len(court.in_force) == STEPS_MAX
    scores: Scores[int] = Scores(most=100)
    scores.add(-1, 90, 0)
    for n in range(1000):
        scores.add(n, 2, 0)
    assert len(scores) <= 100 and scores.of(-1, 0) == 90, "the lowest make room"
    assert scores.of(-1, HALF_LIFE_MS) == 45
    distinct: Distinct[str] = Distinct(most=10)
    assert all(distinct.is_new("a", str(n), 0) for n in range(100)) and len(distinct) == 10
    growing: Growing[int] = Growing(1, 10, 0.0, lambda: 0.5, most=5)
    assert {growing.next(n, 0) for n in range(100)} == {1} and len(growing) == 5


def test_the_ladders_rise() -> None:
    for entries in LADDER.values():
        assert [least for least, _ in entries] == sorted({least for least, _ in entries})
