"""The judge: which step follows from which offences, and from which none. Time and chance are the test's."""

from __future__ import annotations

from tlsrt.config.detection import DETECTORS, DetectionConfig, DetectorConfig, Mode
from tlsrt.supervisor.authority.detection.enumeration import FREE, KEPT, WINDOW_MS, EnumerationDetector
from tlsrt.supervisor.authority.detection.escalation import (
    AGAIN_MS,
    LIMIT_MS,
    RESPAWNS,
    RESPAWNS_MS,
    SHUT_CAP_MS,
    SHUT_FIRST_MS,
    SOURCES_MS,
    THRESHOLDS,
    Action,
    AppliedAction,
)
from tlsrt.supervisor.authority.detection.scores import Scores
from tlsrt.supervisor.authority.detection.scoring import ACTIONS_MAX, GRACE_MS, Scoring
from tlsrt.supervisor.authority.detection.windows import DistinctCounter, GrowingDuration
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind
from tlsrt.supervisor.messages.score import HALF_LIFE_MS

LOOPS = ("primary", "secondary", "third")
STORE = SignalSource(SourceKind.CHANNEL, "secondary/store")
THIRD = SignalSource(SourceKind.PROCESS, "third")
SESSION = SignalSource(SourceKind.SESSION, "ab" * 16)
STRANGER = SignalSource(SourceKind.ADDRESS, "192.0.2.1")


def scoring(chance: float = 0.5, **settings: object) -> Scoring:
    return Scoring(DetectionConfig(**settings), LOOPS, lambda: chance)  # type: ignore[arg-type]


def actions(applied: list[AppliedAction]) -> list[Action]:
    return [each.action for each in applied]


def test_an_address_is_limited_then_blocked_and_never_more() -> None:
    court = scoring()
    applied = [action for _ in range(400) for action in actions(court.signal("tls_garbage", STRANGER, 1000))]
    assert applied == [Action.LIMIT, Action.BLOCK]
    assert court.score(STRANGER, 1000) == 800
    assert [each.until for each in court.active] == [1000 + LIMIT_MS, 1000 + SHUT_FIRST_MS]


def test_a_block_grows_is_capped_jittered_and_begins_anew_after_a_quiet_time() -> None:
    court, now, lasted = scoring(), 0, []
    for _ in range(9):
        (block,) = court.signal("tls_garbage", STRANGER, now, count=100)
        lasted.append(block.until - now)
        now = block.until
        assert [each.action for each in court.due(now)] == [Action.BLOCK]
    assert lasted[:3] == [60_000, 120_000, 240_000] and lasted[-1] == SHUT_CAP_MS
    now += SHUT_CAP_MS + 1
    assert court.signal("tls_garbage", STRANGER, now, count=100)[0].until == now + 60_000
    for chance, least, most in ((0.0, 48_000, 48_000), (1.0, 72_000, 72_000)):
        lasts = scoring(chance).signal("tls_garbage", STRANGER, 0, count=100)[0].until
        assert least <= lasts <= most


def test_a_block_that_ended_begins_again_with_the_next_offence_if_the_score_is_still_high() -> None:
    court = scoring()
    (block,) = court.signal("tls_garbage", STRANGER, 0, count=1000)
    assert court.due(block.until) == [block]
    assert actions(court.signal("tls_garbage", STRANGER, block.until)) == [Action.BLOCK]


def test_a_forged_frame_ends_the_session_it_came_over() -> None:
    court = scoring()
    assert actions(court.signal("bad_tag", SESSION, 5)) == [Action.REVOKE]
    assert court.score(SESSION, 5) == 0, "it is no more"


def test_every_trigger_takes_its_step_at_once_and_again_when_it_comes_again() -> None:
    for name, detector in DETECTORS.items():
        if not detector.is_trigger:
            continue
        court = scoring()
        expected = Action.RESPAWN if detector.points >= 100 else Action.REVOKE
        assert actions(court.signal(name, THIRD, 0)) == [expected], name
        if expected is Action.RESPAWN:
            assert court.signal(name, THIRD, AGAIN_MS - 1) == [], "one attack comes in several reports"
        assert court.signal(name, THIRD, AGAIN_MS) != [], name


def test_a_loop_is_respawned_three_times_in_ten_minutes_and_then_left_in_quarantine() -> None:
    court, now, applied = scoring(), 0, []
    for _ in range(RESPAWNS + 1):
        now += SOURCES_MS
        applied += actions(court.signal("foreign_token", THIRD, now))
    assert applied == [Action.RESPAWN] * RESPAWNS + [Action.QUARANTINE]
    assert court.next_due() == now + SHUT_FIRST_MS, "and that ends by itself as well"
    now += RESPAWNS_MS
    assert court.due(now)
    assert actions(court.signal("foreign_token", THIRD, now)) == [Action.RESPAWN]


def test_what_primary_says_of_loops_never_locks_the_host_also_not_with_what_others_saw_or_over_a_restart() -> None:
    """It is the only source of what is charged to channels."""
    court, applied = scoring(), []
    loops = ("primary", "secondary", "third", "authority", "supervisor")
    for turn in range(40):
        for name in ("foreign_token", "bad_tag", "canary_token", "decoy_component"):
            for loop in loops:
                applied += actions(court.signal(name, SignalSource(SourceKind.CHANNEL, loop), turn * 1_000, count=50))
    assert Action.QUARANTINE in applied and Action.RESPAWN in applied
    after = scoring()
    after.recall(court.remember(40_000))
    for loop in ("secondary", "third"):  # a little that the supervisor saw does not add to it
        applied += actions(after.signal("seccomp_refused", SignalSource(SourceKind.PROCESS, loop), 40_000, count=9))
    after.signal("attestation", SignalSource(SourceKind.CHANNEL, "secondary"), 41_000)
    applied += actions(after.signal("attestation", SignalSource(SourceKind.PROCESS, "third"), 41_000))
    assert Action.LOCK not in applied, "one loop that others saw is one"


def test_two_loops_at_the_top_within_a_minute_lock_the_host_and_one_alone_never_does() -> None:
    court = scoring()
    for at in range(4):
        assert Action.LOCK not in actions(court.signal("foreign_token", THIRD, at * 5_000))
    both = court.signal("seccomp_refused", SignalSource(SourceKind.PROCESS, "secondary"), 20_000, count=50)
    assert actions(both) == [Action.LOCK, Action.RESPAWN]
    late = scoring()
    late.signal("foreign_token", THIRD, 0)
    assert Action.LOCK not in actions(
        late.signal("foreign_token", SignalSource(SourceKind.PROCESS, "secondary"), SOURCES_MS)
    )


def test_any_trigger_at_the_trusted_locks_the_host_and_what_is_none_does_not() -> None:
    for name in ("primary", "authority", "supervisor"):
        assert Action.LOCK in actions(scoring().signal("seccomp_kill", SignalSource(SourceKind.PROCESS, name), 0))
    assert Action.LOCK not in actions(
        scoring().signal("bad_tag", SignalSource(SourceKind.PROCESS, "primary"), 0, count=9)
    )
    for source in (STRANGER, SESSION, STORE, THIRD, SignalSource(SourceKind.ADDRESS, "primary")):
        assert Action.LOCK not in actions(scoring().signal("decoy_method", source, 0))


def test_what_is_no_loop_is_shut_out_and_not_respawned() -> None:
    for source in (STORE, SESSION, SignalSource(SourceKind.CHANNEL, "client/admin")):
        assert actions(scoring().signal("decoy_method", source, 0)) == [Action.QUARANTINE]


def test_what_is_advised_ends_a_session_at_most() -> None:
    court = scoring()
    applied = [action for at in range(40) for action in actions(court.signal("learned", THIRD, at, points=20))]
    assert set(applied) <= {Action.LIMIT, Action.REVOKE}
    assert actions(court.signal("learned", STRANGER, 0, points=500)) == [Action.BLOCK]


def test_the_same_refused_call_counts_once_a_minute_and_different_ones_each() -> None:
    court = scoring()
    for at in range(1000):
        court.signal("policy", SESSION, at, count=50, what="secondary/store wipe")
    assert court.score(SESSION, 1000) < 5.1
    applied = [
        action for n in range(10) for action in actions(court.signal("policy", SESSION, 1000, what=f"method {n}"))
    ]
    assert applied == [Action.LIMIT, Action.REVOKE]


def test_whoever_guesses_slowly_is_limited_and_whoever_has_a_few_mistakes_is_not() -> None:
    """Each guess comes when the one before has faded: without a longer memory, nothing would ever follow."""
    court, hour = scoring(), 3_600_000
    applied = [
        court.signal("policy", SESSION, n * hour // 2, what=f"method {n % 3}", subject="client/guest")
        for n in range(40)
    ]
    assert not any(applied), "three mistakes, again and again"
    other = SignalSource(SourceKind.SESSION, "cd" * 16)  # another session of the same client
    [guess] = court.signal("policy", other, 20 * hour, what="method 3", subject="client/guest")
    assert (guess.action, guess.detector, guess.source) == (Action.LIMIT, "guessing", other)
    assert court.signal("policy", other, 20 * hour + LIMIT_MS, what="method 3", subject="client/guest") == []
    court.due(21 * hour)
    assert actions(court.signal("policy", other, 21 * hour, what="method 4", subject="client/guest")) == [Action.LIMIT]
    court.due(22 * hour)
    court.release("client/guest")
    assert court.signal("policy", other, 22 * hour, what="method 5", subject="client/guest") == []


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
    court = scoring()
    applied = [each for n in range(5) for each in actions(court.signal("policy", SESSION, n, what=f"method {n}"))]
    assert applied == [Action.LIMIT] and court.score(SESSION, 5) < 46


def test_grace_forgives_only_what_the_innocent_do_for_a_moment() -> None:
    court = scoring()
    court.begin_grace(1000)
    assert court.signal("revoked", SESSION, 1000 + GRACE_MS - 1, count=99) == []
    assert actions(court.signal("bad_tag", SESSION, 1001)) == [Action.REVOKE]
    assert actions(court.signal("revoked", SESSION, 1000 + GRACE_MS, count=2)) == [Action.LIMIT]
    assert court.detector_counts["revoked"].found == 101 and court.detector_counts["revoked"].counted == 2


def test_an_observed_detector_is_counted_and_does_nothing_and_one_that_is_off_is_not_counted() -> None:
    court = scoring(detectors={"bad_tag": DetectorConfig(Mode.OBSERVE), "replay": DetectorConfig(Mode.IGNORE)})
    assert court.signal("bad_tag", THIRD, 0, count=50) == court.signal("replay", THIRD, 0, count=50) == []
    assert court.score(THIRD, 0) == 0
    assert (court.detector_counts["bad_tag"].found, court.detector_counts["bad_tag"].counted) == (50, 0)
    assert court.detector_counts["replay"].found == 0


def test_when_all_is_observed_steps_are_told_as_what_would_have_been() -> None:
    applied = scoring(mode=Mode.OBSERVE).signal("foreign_token", THIRD, 0)
    assert [(each.action, each.is_observed) for each in applied] == [(Action.RESPAWN, True)]
    assert scoring(mode=Mode.IGNORE).signal("foreign_token", THIRD, 0) == []


def test_the_allow_list_has_networks_and_names() -> None:
    court = scoring(allow=("192.0.2.0/24", "2001:db8::1", "client/probe", "third"))
    for source in (STRANGER, SignalSource(SourceKind.ADDRESS, "2001:db8::/64"), THIRD):
        assert court.signal("decoy_endpoint", source, 0) == [] and court.score(source, 0) == 0
    assert court.signal("decoy_method", SESSION, 0, subject="client/probe") == []
    assert court.signal("decoy_method", SESSION, 0, subject="client/other")
    assert court.signal("decoy_endpoint", SignalSource(SourceKind.ADDRESS, "198.51.100.7"), 0)
    assert scoring().signal("decoy_endpoint", SignalSource(SourceKind.ADDRESS, "127.0.0.1"), 0) == [], "the usual list"


def test_who_is_released_has_no_step_and_no_score() -> None:
    court = scoring()
    court.signal("decoy_method", STORE, 0)
    assert actions(court.release(STORE.value)) == [Action.QUARANTINE]
    assert court.score(STORE, 0) == 0 and court.active == () and court.next_due() is None
    assert court.signal("decoy_method", STORE, 0)[0].until == SHUT_FIRST_MS, "nor a longer one the next time"


def test_a_detector_that_nobody_knows_counts_what_it_is_told_to() -> None:
    assert actions(scoring().signal("another", THIRD, 0, points=60)) == [Action.REVOKE]
    assert scoring().signal("another", THIRD, 0) == []


def test_memory_is_bounded_whoever_comes() -> None:
    court = scoring()
    for n in range(ACTIONS_MAX + 100):
        court.signal("decoy_endpoint", SignalSource(SourceKind.ADDRESS, f"2001:db8:{n:x}::/64"), n)
    assert len(court.active) == ACTIONS_MAX
    scores: Scores[int] = Scores(most=100)
    scores.add(-1, 90, 0)
    for n in range(1000):
        scores.add(n, 2, 0)
    assert len(scores) <= 100 and scores.of(-1, 0) == 90, "the lowest make room"
    assert scores.of(-1, HALF_LIFE_MS) == 45
    distinct: DistinctCounter[str] = DistinctCounter(most=10)
    assert all(distinct.is_new("a", str(n), 0) for n in range(100)) and len(distinct) == 10
    growing: GrowingDuration[int] = GrowingDuration(1, 10, 0.0, lambda: 0.5, most=5)
    assert {growing.next(n, 0) for n in range(100)} == {1} and len(growing) == 5


def test_the_ladders_rise() -> None:
    for entries in THRESHOLDS.values():
        assert [least for least, _ in entries] == sorted({least for least, _ in entries})


def test_an_alert_locks_at_100_points_if_it_acts_and_nothing_else() -> None:
    watch = SignalSource(SourceKind.ALERT, "primary/hardware")
    observed = scoring()
    assert observed.signal("alert_critical", watch, 1000, count=50) == [] and observed.score(watch, 1000) == 0
    acts = scoring(detectors={name: DetectorConfig(Mode.ACT) for name in ("alert_warning", "alert_critical")})
    taken = [action for _ in range(4) for action in actions(acts.signal("alert_warning", watch, 1000))]
    assert taken == [Action.LOCK] and acts.active == (), "no limit, no quarantine"
    assert actions(acts.signal("alert_critical", watch, 61_000, count=10)) == [Action.LOCK], (
        "as often as it is unlocked"
    )
    assert actions(acts.signal("alert_critical", watch, 121_000)) == [Action.LOCK]
    assert actions(acts.signal("alert_critical", SignalSource(SourceKind.ALERT, "a/b"), 1000)) == [Action.LOCK]
    allowed = scoring(detectors={"alert_critical": DetectorConfig(Mode.ACT)}, allow=("primary/hardware",))
    assert allowed.signal("alert_critical", watch, 1000) == []
