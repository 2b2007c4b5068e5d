"""Timers of a process that rests: until when it may, and runs that wait because there is nothing to do."""

from __future__ import annotations

import asyncio
import logging
import math
from pathlib import Path

import pytest
from unit.loops.runtime.test_timers import NOON, Bench, FakeClock, run

from tlsrt import Component
from tlsrt.loops.component.timers import every
from tlsrt.loops.runtime.timers import AGAIN_S, ComponentTimers


class Expiring(Component):
    """Has something to do when one of its ends has come; `told` is what it says of that instead."""

    clock: FakeClock

    def __init__(self) -> None:
        self.end = math.inf
        self.told: object = None
        self.ran: list[float] = []

    def until_end_s(self) -> float:
        if isinstance(self.told, Exception):
            raise self.told
        return self.end - self.clock.boot if self.told is None else self.told  # type: ignore[return-value]

    @every("1s", idle_s=until_end_s)
    async def look_for_ends(self) -> None:
        self.ran.append(self.clock.boot)
        self.end = math.inf


class ExpiringBench:
    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.component = Expiring()
        self.component.clock = clock
        self.timers = ComponentTimers(self.component, folder, logging.getLogger("expiring"), clock, lambda: 0.0)
        self.timers.start()

    async def passes(self, seconds: float) -> None:
        self.clock.passes(seconds)
        self.timers.each_beat()
        for _ in range(3):
            await asyncio.sleep(0)


async def told(bench: Bench | ExpiringBench) -> float:
    """Return for how long it may rest, behind the beat that follows a run."""
    await bench.passes(0.5)
    return bench.timers.next_look()


def test_it_rests_until_the_first_is_due_and_not_in_the_beat_behind_a_run(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        assert bench.timers.next_look() == 5.0
        assert await bench.passes(5.0) == ["poll"] and bench.timers.next_look() == 0.0
        assert await told(bench) == 4.5

    run(test, tmp_path)


def test_it_rests_until_a_time_of_day_by_the_wall_clock(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        bench.clock.wall = NOON + 3600 - 2.0  # set forward, by less than what is a correction
        assert bench.timers.next_look() == 2.0
        bench.clock.boot += 4.0  # suspended, with a wall clock that stood still
        assert bench.timers.next_look() == 1.0

    run(test, tmp_path)


def test_a_disk_that_refuses_is_asked_again_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        monkeypatch.setattr("tlsrt.loops.runtime.timers.write_due_times", refuse)
        bench.clock.passes(3600)
        assert await bench.passes(0.0) == ["poll"]
        bench.timers._jobs[0].table.due = math.inf  # leave the disk alone to be waited for
        assert 0 < await told(bench) <= AGAIN_S

    def refuse(*given: object) -> None:
        raise OSError(28, "No space left on device")

    run(test, tmp_path)


def test_a_run_waits_as_long_as_there_is_nothing_to_do_and_comes_as_soon_as_there_is(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        expiring = ExpiringBench(tmp_path, bench.clock)
        component = expiring.component
        for _ in range(100):
            await expiring.passes(1.0)
        assert component.ran == [] and expiring.timers.next_look() == math.inf
        component.end = bench.clock.boot + 30.0
        assert await told(expiring) == 29.5
        await expiring.passes(29.0)
        assert component.ran == [] and expiring.timers.next_look() == 0.5
        await expiring.passes(0.5)
        assert component.ran == [bench.clock.boot] and await told(expiring) == math.inf
        component.end = bench.clock.boot  # sooner than a period behind the last run
        await expiring.passes(0.2)
        assert len(component.ran) == 1 and expiring.timers.next_look() == pytest.approx(0.3)
        await expiring.passes(0.3)
        assert len(component.ran) == 2
        await expiring.timers.stop(0.05)

    run(test, tmp_path)


@pytest.mark.parametrize("told", [ZeroDivisionError("x"), math.nan, -1.0, "soon"])
def test_one_that_cannot_say_runs_as_if_it_had_no_such_thing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, told: object
) -> None:
    async def test(bench: Bench) -> None:
        expiring = ExpiringBench(tmp_path, bench.clock)
        expiring.component.told, expiring.component.end = told, bench.clock.boot
        for _ in range(3):
            await expiring.passes(1.0)
        assert len(expiring.component.ran) == 3
        said = [record for record in caplog.records if "cannot tell" in record.message]
        assert len(said) == (1 if isinstance(told, (Exception, str)) else 0), "it is told once"
        await expiring.timers.stop(0.05)

    run(test, tmp_path)
