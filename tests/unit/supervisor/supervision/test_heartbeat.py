"""The heartbeat monitor: numbers of phi, times of detection, and what must not look like a death."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.supervision.heartbeat import Health, HeartbeatMonitor, HeartbeatPolicy, phi, soonest_s

POLICY = HeartbeatPolicy()


def settled(beats: list[float], name: str = "third") -> HeartbeatMonitor:
    monitor = HeartbeatMonitor()
    monitor.watch(name, beats[0])
    monitor.settle(name, beats[0])
    for at in beats[1:]:
        monitor.beat(name, at)
    return monitor


def regular(count: int, interval: float = 0.5) -> list[float]:
    return [interval * number for number in range(count)]


def detected_after(monitor: HeartbeatMonitor, last: float, name: str = "third") -> float:
    """Return how long after the last beat the rounds find the process dead."""
    now = last
    monitor.check(now)
    while now < last + 60:
        now += POLICY.round_s
        if name in monitor.check(now):
            return now - last
    raise AssertionError("never detected")


@given(st.lists(st.floats(0.0, 1.5), max_size=40), st.booleans(), st.floats(0, 6))
def test_before_it_is_quiet_no_longer_nobody_is_suspect_late_or_dead(
    intervals: list[float], is_settled: bool, pause: float
) -> None:
    monitor = HeartbeatMonitor()
    monitor.watch("third", 0.0)
    if is_settled:
        monitor.settle("third", 0.0)
    last = 0.0
    for interval in intervals:
        last += interval
        monitor.beat("third", last)
    until = monitor.quiet_until(last)
    assert until - last == pytest.approx(soonest_s(POLICY) if is_settled else POLICY.grace_s)
    at = min(last + pause, until - 1e-6)
    assert monitor.health("third", at) in (Health.GOOD, Health.STARTING)
    assert not is_settled or not monitor.late(at)
    assert monitor.quiet_until(until + pause) == until + pause


def test_it_is_quiet_for_ever_without_a_process_and_never_with_a_suspect() -> None:
    assert HeartbeatMonitor().quiet_until(3.0) == math.inf
    monitor = settled(regular(20))
    monitor.check(9.6)
    monitor.check(9.75)
    now = 9.75
    while not monitor._suspects:
        now += POLICY.round_s
        monitor.check(now)
    monitor.beat("third", now)
    assert monitor.quiet_until(now) == now  # that it is none any more is to be told


@pytest.mark.parametrize("hangs_after_s", [0.0, 0.1, 0.2, 0.3, 0.4, 0.49])
def test_a_death_is_found_as_soon_with_turns_that_are_left_out_as_with_all(hangs_after_s: float) -> None:
    beats = [at + hangs_after_s for at in regular(40)]
    found: list[float] = []
    for leaves_out in (False, True):
        monitor, queue, turn = settled(beats[:2]), beats[2:], 6
        while True:
            now = turn / 6
            while queue and queue[0] <= now:
                monitor.beat("third", queue.pop(0))
            if monitor.check(now):
                found.append(now)
                break
            rest = 3 - turn % 3
            step = rest if leaves_out and monitor.quiet_until(now) > now + (rest - 1) / 6 else 1
            monitor.expect(step / 6)
            turn += step
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("z", "expected"), [(0.0, 0.30103), (1.0, 0.79955), (3.0, 2.86970), (5.0, 6.54264), (6.0, 9.00586)]
)
def test_phi_is_the_logarithm_of_the_normal_tail(z: float, expected: float) -> None:
    assert phi(0.5 + 0.5 + z * 0.1, 0.5, 0.1, 0.5) == pytest.approx(expected, abs=1e-4)


def test_no_suspicion_is_no_negative_zero() -> None:
    assert str(phi(0.0, 0.5, 0.001, 0.5)) == "0.0"


def test_phi_beyond_every_float_is_infinite() -> None:
    assert phi(100.0, 0.5, 0.1, 0.5) == math.inf


@given(st.floats(0, 50), st.floats(0, 50))
def test_phi_never_falls_while_the_silence_lasts(first: float, second: float) -> None:
    early, late = sorted((first, second))
    assert phi(early, 0.5, 0.1, 0.5) <= phi(late, 0.5, 0.1, 0.5)


@given(st.lists(st.floats(0.001, 1.5), min_size=1, max_size=120), st.floats(0, POLICY.allowance_s))
def test_who_has_just_beaten_is_good_whatever_its_rhythm_was(intervals: list[float], elapsed: float) -> None:
    """So it need not be worked out."""
    beats = [0.0]
    for interval in intervals:
        beats.append(beats[-1] + interval)
    monitor = settled(beats)
    assert monitor.phi("third", beats[-1] + elapsed) < 0.31 < POLICY.suspect
    assert monitor.health("third", beats[-1] + elapsed) is Health.GOOD


def test_a_regular_process_is_good_then_suspect_then_dead() -> None:
    monitor = settled(regular(20))
    last = 9.5
    assert monitor.health("third", last + 1.0) is Health.GOOD
    assert monitor.health("third", last + 1.45) is Health.SUSPECT
    assert monitor.health("third", last + 1.6) is Health.DEAD


@pytest.mark.parametrize("beats", [regular(3), regular(20), regular(500), regular(20, 0.55), [0.0]])
def test_a_hang_is_detected_in_less_than_two_seconds(beats: list[float]) -> None:
    assert 1.4 < detected_after(settled(beats), beats[-1]) < 2.0


@pytest.mark.parametrize("pattern", [[0.01, 1.4], [0.001], [1.49], [0.2, 0.9, 0.5]])
def test_an_irregular_process_cannot_buy_much_time(pattern: list[float]) -> None:
    beats = [0.0]
    for number in range(200):
        beats.append(beats[-1] + pattern[number % len(pattern)])
    assert detected_after(settled(beats), beats[-1]) < 2.0


def test_thirty_thousand_beats_with_pauses_are_no_death_and_the_first_hang_is_one() -> None:
    """The simulation that the policy comes from: 20 ms jitter, one pause of up to 0.6 s in 1,000 beats."""
    random = Random(5)
    monitor = settled([0.0])
    last = round_at = 0.0
    for _ in range(30_000):
        pause = random.uniform(0, 0.6) if random.random() < 0.001 else 0.0
        arrives = last + max(0.0, random.gauss(0.5, 0.02)) + pause
        while round_at + POLICY.round_s < arrives:
            round_at += POLICY.round_s
            assert monitor.check(round_at) == []
        last = arrives
        monitor.beat("third", last)
    assert detected_after(monitor, last) <= 1.9


def test_a_hiccup_is_no_death() -> None:
    for beats in (regular(20), regular(500), [0.0]):
        monitor = settled(beats)
        assert monitor.health("third", beats[-1] + 0.5 + 0.6) is not Health.DEAD


def test_a_starting_process_has_its_grace_and_no_more() -> None:
    monitor = HeartbeatMonitor()
    monitor.watch("third", 100.0)
    assert monitor.health("third", 104.9) is Health.STARTING
    assert monitor.health("third", 105.1) is Health.DEAD


def test_the_grace_is_over_as_soon_as_the_start_is() -> None:
    monitor = HeartbeatMonitor()
    monitor.watch("third", 100.0)
    monitor.settle("third", 101.0)
    assert monitor.health("third", 102.7) is Health.DEAD


def test_a_late_round_judges_nobody_and_forgives_what_it_missed() -> None:
    monitor = settled(regular(20))
    monitor.check(9.6)
    assert monitor.check(19.6) == []  # ten seconds in which the monitor did not run
    assert monitor.check(19.8) == []
    assert monitor.check(20.0) == []
    assert detected_after(monitor, 20.0) < 1.7


def test_the_first_round_judges_nobody_as_it_may_be_late_itself() -> None:
    """A supervisor that is stopped between its start and its first round has seen no beat for as long."""
    monitor = settled(regular(3))
    assert monitor.check(1.0 + 8.0) == []
    assert monitor.check(1.0 + 8.0 + POLICY.round_s) == []
    assert detected_after(monitor, 9.0 + POLICY.round_s) < 2.0


def test_a_round_in_time_after_a_late_one_still_finds_the_dead() -> None:
    monitor = settled(regular(20))
    now = 9.5
    found: list[str] = []
    for number in range(40):
        now += 0.6 if number % 2 else 0.2  # every second round is late by 0.4 s
        found = found or monitor.check(now)
    assert found == ["third"]


@pytest.mark.parametrize("late_s", [0.3, 1.0, 10.0])
def test_a_monitor_that_is_always_late_finds_the_dead_too_and_only_them(late_s: float) -> None:
    monitor = settled(regular(20))
    monitor.watch("forth", 9.5)
    monitor.settle("forth", 9.5)
    now, found = 9.5, []
    monitor.check(now)
    for _ in range(40):
        now += POLICY.round_s + late_s
        monitor.beat("forth", now - 0.01)  # whoever beats is heard before it is judged
        found += monitor.check(now)
    assert set(found) == {"third"}


def test_a_stopped_host_is_no_rhythm() -> None:
    monitor = settled(regular(20))
    monitor.beat("third", 9.5 + 3600)
    assert monitor.health("third", 9.5 + 3600 + 1.0) is Health.GOOD
    assert monitor.health("third", 9.5 + 3600 + 1.7) is Health.DEAD


def test_only_the_silent_one_dies() -> None:
    monitor = HeartbeatMonitor()
    for name in ("primary", "third"):
        monitor.watch(name, 0.0)
        monitor.settle(name, 0.0)
    dead: list[str] = []
    for number in range(1, 30):
        now = number * 0.2
        monitor.beat("primary", now)
        dead += monitor.check(now)
    assert set(dead) == {"third"}


def test_who_is_forgotten_is_not_judged_and_may_beat() -> None:
    monitor = settled(regular(3))
    monitor.forget("third")
    monitor.forget("third")
    monitor.beat("third", 1.5)
    assert monitor.check(1.0) == []
    assert monitor.check(1.2) == []
    assert not monitor.is_watched("third")


def test_watching_anew_forgets_the_old_rhythm() -> None:
    monitor = settled(regular(50, 1.0))
    monitor.watch("third", 100.0)
    monitor.settle("third", 100.0)
    assert monitor.health("third", 101.6) is Health.DEAD


@given(st.lists(st.floats(0.3, 0.75), min_size=1, max_size=150))
def test_an_honest_process_under_load_is_never_called_dead(intervals: list[float]) -> None:
    monitor = HeartbeatMonitor()
    monitor.watch("third", 0.0)
    monitor.settle("third", 0.0)
    now = 0.0
    for interval in intervals:
        now += interval
        assert monitor.health("third", now) is Health.GOOD
        monitor.beat("third", now)


def test_the_time_in_which_the_kernel_holds_a_process_for_its_disk_is_no_silence_up_to_a_bound() -> None:
    monitor = settled(regular(10))
    now = last = 4.5
    while monitor.phi("third", now) < POLICY.dead:
        now += POLICY.round_s
        if "third" in monitor.late(now):
            monitor.excuse("third", now)
        assert monitor.silence("third", now) == pytest.approx(now - last)
        assert now - last < POLICY.disk_s + 3, "a process that is captured is silent for ever"
    assert now - last > POLICY.disk_s and monitor.excused("third") >= POLICY.disk_s


def test_who_has_waited_for_its_disk_has_the_usual_time_to_beat_again_and_a_new_account() -> None:
    monitor = settled(regular(10))
    for turn in range(60):  # ten seconds
        now = 4.5 + turn * POLICY.round_s
        if "third" in monitor.late(now):
            assert monitor.excuse("third", now)
    assert monitor.health("third", now + 0.3) is Health.GOOD and monitor.health("third", now + 0.8) is Health.DEAD
    monitor.beat("third", now + 0.3)
    assert monitor.excused("third") == 0 and not monitor.late(now + 0.9)
    assert detected_after(monitor, now + 0.3) < 1.75, "a long wait makes the process no less regular"


def test_a_first_beat_after_the_end_of_the_watch_means_nothing() -> None:
    monitor = settled(regular(3))
    monitor.forget("third")
    monitor.settle("third", 10.0)
    monitor.beat("third", 10.5)
    assert not monitor.is_watched("third")
