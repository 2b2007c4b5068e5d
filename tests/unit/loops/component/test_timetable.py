"""When timers are due: grids without drift, jumps of the clock, and what a time without the process leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsrt.cron import parse_cron
from tlsrt.errors import MisuseError
from tlsrt.loops.component.timers import At, Every, Missed, at, every, timers_of
from tlsrt.loops.component.timetable import Due, Now, What, timetable_of

DAY = 86_400
HALF_PAST_THREE = 20_000 * DAY + 3 * 3600 + 1800  # a day in 2024, UTC


def utc(at: int) -> int:
    return 0


def table(timer: Any, now: Now, kept: Due | None = None, chance: float = 0.0) -> Any:
    return timetable_of(timer, kept, now, utc, lambda: chance)


def nightly(missed: Missed = "once") -> At:
    return At(parse_cron("30 3 * * *"), missed)


class Clock:
    """Both clocks of a host, which a test moves together or apart."""

    def __init__(self, wall: float, boot: float = 1000.0) -> None:
        self.boot, self.wall = boot, wall

    def passes(self, seconds: float) -> Now:
        self.boot += seconds
        return self.jumps(seconds)

    def jumps(self, seconds: float) -> Now:
        self.wall += seconds
        return self.now

    @property
    def now(self) -> Now:
        return Now(self.boot, self.wall)


@example(0.5000000000000001, [1.0], 0.0)
@given(st.floats(0.5, 100), st.lists(st.floats(0.01, 300), max_size=60), st.floats(0, 1, exclude_max=True))
def test_a_period_is_a_grid_that_does_not_drift_and_a_run_is_late_by_its_jitter_at_most(
    period_s: float, steps: list[float], chance: float
) -> None:
    clock, jitter_s = Clock(0.0), period_s / 2
    due = table(Every(period_s, jitter_s), clock.now, chance=chance)
    began = clock.boot
    for step in steps:
        before = due.due
        found = due.look(clock.passes(step))
        assert (found is What.DUE) is (before <= clock.boot)
        assert clock.boot < due.due <= clock.boot + period_s + jitter_s + 1e-6
        cycles = (due.due - chance * jitter_s - began) / period_s
        assert cycles == pytest.approx(round(cycles), abs=1e-6)


def test_a_period_goes_on_over_a_restart_and_anew_after_a_boot() -> None:
    clock = Clock(0.0)
    timer = Every(3600, 0)
    kept = table(timer, clock.now).record(clock.now)
    clock.passes(600)
    assert table(timer, clock.now, kept).due == 1000 + 3600
    clock.passes(10_000)
    again = table(timer, clock.now, kept)
    assert again.look(clock.now) is What.DUE and again.look(clock.now) is What.NOTHING
    assert table(timer, Now(5.0, 0.0), kept).due == 5 + 3600, "another boot"
    assert table(Every(600, 0), clock.now, kept).due == clock.boot + 600, "another period"


@pytest.mark.parametrize(("missed", "found"), [("once", What.LATE), ("skip", What.MISSED)])
def test_a_time_that_passed_while_nothing_ran_is_made_up_for_once_or_left_out(missed: Missed, found: What) -> None:
    clock = Clock(HALF_PAST_THREE - 60)
    kept = table(nightly(missed), clock.now).record(clock.now)
    assert kept.at == HALF_PAST_THREE
    clock.passes(3 * DAY)
    again = table(nightly(missed), clock.now, kept)
    assert again.look(clock.now) is found
    assert again.due == HALF_PAST_THREE + 3 * DAY and again.look(clock.now) is What.NOTHING


def test_it_is_on_time_at_the_next_beat_and_once() -> None:
    clock = Clock(HALF_PAST_THREE - 1)
    due = table(nightly("skip"), clock.now)
    assert [due.look(clock.passes(0.5)) for _ in range(5)] == [What.NOTHING, What.DUE, *[What.NOTHING] * 3]
    assert due.due == HALF_PAST_THREE + DAY


@given(st.floats(-3 * 3600 + 61, -61))
def test_a_clock_that_goes_back_by_less_than_three_hours_runs_nothing_twice(jump: float) -> None:
    clock = Clock(HALF_PAST_THREE - 1)
    due = table(nightly(), clock.now)
    assert due.look(clock.passes(2)) is What.DUE
    clock.jumps(jump)
    ran = [due.look(clock.passes(60)) for _ in range(180)]
    assert set(ran) == {What.NOTHING}
    kept = due.record(clock.now)
    assert table(nightly(), clock.now, kept).due == HALF_PAST_THREE + DAY, "nor does another process"


def test_a_clock_that_goes_forward_by_less_than_three_hours_makes_up_for_what_it_passed_over() -> None:
    clock = Clock(HALF_PAST_THREE - 3600)
    due = table(nightly(), clock.now)
    assert due.look(clock.jumps(2 * 3600)) is What.LATE
    assert due.look(clock.passes(1)) is What.NOTHING


@pytest.mark.parametrize("jump", [-300 * DAY, -4 * 3600, 4 * 3600, 300 * DAY])
def test_a_larger_jump_is_a_correction_and_what_is_due_is_found_anew(jump: float) -> None:
    clock = Clock(HALF_PAST_THREE - 3600)
    due = table(nightly(), clock.now)
    assert due.look(clock.jumps(jump)) is What.NOTHING
    assert clock.wall < due.due <= clock.wall + DAY
    if jump < 0:
        kept = Due("at 30 3 * * *", HALF_PAST_THREE, HALF_PAST_THREE - 3600)
        assert table(nightly(), clock.now, kept).due == due.due, "also if it was set back while nothing ran"


def test_a_machine_that_slept_over_it_has_only_missed_it() -> None:
    clock = Clock(HALF_PAST_THREE - 3600)
    due = table(nightly(), clock.now)
    assert due.look(clock.passes(10 * 3600)) is What.LATE, "CLOCK_BOOTTIME has counted, so the clock did not jump"


@given(st.lists(st.tuples(st.sampled_from(["pass", "jump", "restart"]), st.floats(-20_000, 100_000)), max_size=40))
def test_whatever_the_clock_does_no_time_of_day_is_run_twice_within_a_correction(
    steps: list[tuple[str, float]],
) -> None:
    clock = Clock(HALF_PAST_THREE - 7200)
    due = table(nightly(), clock.now)
    kept = due.record(clock.now)
    ran: list[float] = []
    for what, seconds in steps:
        if what == "pass":
            clock.passes(abs(seconds))
        elif what == "jump":
            clock.jumps(seconds)
            if abs(seconds) >= 3 * 3600:
                ran.clear()
        else:
            due = table(nightly(), clock.now, kept)
        target = due.due
        if due.look(clock.now) in (What.DUE, What.LATE):
            assert target not in ran and clock.wall >= target
            ran.append(target)
        assert due.due > clock.wall - 3 * 3600
        kept = due.record(clock.now)


def test_methods_are_found_with_their_timers() -> None:
    class Base:
        @every("5s", jitter="1s")
        async def poll(self) -> None: ...

    class Job(Base):
        @at("30 3 * * *", missed="skip")
        async def tidy(self) -> None: ...

        @every("250ms")
        async def fast(self) -> None: ...

        @every(90)
        async def rarely(self) -> None: ...

    assert timers_of(Job) == {
        "poll": Every(5, 1), "tidy": At(parse_cron("30 3 * * *"), "skip"), "fast": Every(0.25, 0),
        "rarely": Every(90, 0),
    }  # fmt: skip
    assert [name for name, timer in timers_of(Job).items() if timer.is_kept] == ["rarely", "tidy"]


@pytest.mark.parametrize(("make", "words"), [
    (lambda: every("5 s"), "cannot read the period of a timer: invalid duration"),
    (lambda: every("1ms"), "use at least 10ms"), (lambda: every(0), "use at least"), (lambda: every("0ms"), "at least"),
    (lambda: every("5s", jitter="6s"), "cannot have a jitter of 6s in a period of 5s"),
    (lambda: every("1s", idle_s=5.0), "cannot take idle_s=5.0: give a function of the component"),  # type: ignore[arg-type]
    (lambda: every("1s", idle_s=asyncio.sleep), "that is not async"),  # type: ignore[arg-type]
    (lambda: every("400d"), "use at most"), (lambda: at("30 3 * *"), "it has 4 fields"),
    (lambda: at("30 3 * * *", missed="twice"), "write 'once' or 'skip'"),  # type: ignore[arg-type]
    (lambda: every("5s")(lambda self: None), "it is no async method"),
])  # fmt: skip
def test_what_cannot_be_a_timer_is_refused(make: Any, words: str) -> None:
    with pytest.raises(MisuseError, match=words):
        make()


def test_a_method_with_two_timers_or_with_arguments_is_refused() -> None:
    async def takes(self: object, more: int) -> None: ...

    async def plain(self: object) -> None: ...

    with pytest.raises(MisuseError, match="it takes more than self"):
        every("5s")(takes)
    with pytest.raises(MisuseError, match="by two timers"):
        every("5s")(at("* * * * *")(plain))
