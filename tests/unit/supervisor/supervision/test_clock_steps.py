"""Steps of the host's clocks: a suspend, a clock that is set, one that is slewed."""

from __future__ import annotations

import pytest

from tlsrt.supervisor.supervision.clock_steps import LEAST_S, Clocks, ClockSteps, read_clocks

START = Clocks(100.0, 500.0, 1_700_000_000.0)


def after(seconds: float, *, suspended: float = 0.0, set_by: float = 0.0) -> Clocks:
    return Clocks(START.monotonic + seconds, START.boottime + seconds + suspended, START.wall + seconds + set_by)


def test_clocks_that_go_on_make_no_step() -> None:
    steps = ClockSteps()
    assert not any(steps.look(after(0.5 * number)) for number in range(1000))


@pytest.mark.parametrize(("suspended", "set_by"), [(60.0, 60.0), (0.0, 3600.0), (0.0, -1.0), (1.5 * LEAST_S, 0.0)])
def test_a_suspend_or_a_clock_that_is_set_is_told_once(suspended: float, set_by: float) -> None:
    steps = ClockSteps()
    assert not steps.look(START)
    assert steps.look(after(0.5, suspended=suspended, set_by=set_by))
    assert not steps.look(after(1.0, suspended=suspended, set_by=set_by))
    assert steps.look(after(1.5)), "and back again"


def test_a_clock_that_is_slewed_comes_to_a_step_in_some_minutes() -> None:
    steps = ClockSteps()
    told = [number for number in range(2000) if steps.look(after(0.5 * number, set_by=0.00025 * number))]
    assert 700 < told[0] < 900 and len(told) == 2


def test_the_clocks_of_this_host_are_those_of_one_moment() -> None:
    one, other = read_clocks(), read_clocks()
    assert 0 <= other.monotonic - one.monotonic < 5 and one.boottime >= one.monotonic > 0 and one.wall > 1.7e9
