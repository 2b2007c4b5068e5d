"""Asking components how they are: when a check begins, what counts as a failure, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.health import HealthOutcome
from tlsrt.config.components import HealthConfig
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.surroundings import give
from tlsrt.loops.runtime.health import HealthChecks, Schedule

BEAT_S = 0.5
CONFIG = HealthConfig(every_s=3.0, timeout_s=1.0, fails=3)


def begun(times: list[float], schedule: Schedule) -> list[float]:
    """Return when checks begin, if each ends at once."""
    found: list[float] = []
    for now in times:
        if schedule.begins(now):
            found.append(now)
            schedule.end(is_good=True)
    return found


def beats(seconds: float) -> list[float]:
    return [BEAT_S * number for number in range(int(seconds / BEAT_S))]


def test_a_check_begins_with_the_first_beat_and_then_as_often_as_configured() -> None:
    assert begun(beats(10), Schedule(CONFIG)) == [0.0, 3.0, 6.0, 9.0]


def test_failures_in_a_row_are_counted_and_one_good_check_ends_them() -> None:
    schedule = Schedule(CONFIG)
    fails: list[int] = []
    for number, is_good in enumerate([False, False, True, False]):
        assert schedule.begins(3.0 * number)
        assert schedule.end(is_good=is_good)
        fails.append(schedule.fails)
    assert fails == [1, 2, 0, 1]


def test_a_check_that_is_late_fails_once_and_its_end_is_no_news() -> None:
    schedule = Schedule(CONFIG)
    assert schedule.begins(0.0)
    assert [schedule.is_late(now) for now in (0.5, 1.0, 1.5, 2.5)] == [False, True, False, False]
    assert not schedule.end(is_good=True)
    assert schedule.fails == 1
    assert schedule.begins(3.0)


def test_a_check_that_never_ends_fails_again_and_again_and_no_other_begins() -> None:
    schedule = Schedule(CONFIG)
    assert schedule.begins(0.0)
    late = [now for now in beats(12) if schedule.is_late(now)]
    assert late == [1.0, 3.0, 6.0, 9.0]
    assert schedule.fails == 4
    assert not schedule.begins(100.0)


@given(st.lists(st.sampled_from(["beat", "good", "bad"]), max_size=200), st.floats(0.5, 5), st.floats(0.5, 5))
def test_no_two_checks_are_ever_under_way_and_each_is_judged_once_a_period(
    steps: list[str], every_s: float, timeout_s: float
) -> None:
    schedule = Schedule(HealthConfig(every_s, timeout_s, 3))
    running, now, began, judged = False, 0.0, 0.0, 0
    for step in steps:
        if step == "beat":
            now += BEAT_S
            if schedule.is_late(now):
                assert running
                judged += 1
                assert judged <= 1 + (now - began) / every_s
            elif schedule.begins(now):
                assert not running
                running, began, judged = True, now, 0
        elif running:
            running, before = False, schedule.fails
            assert schedule.end(is_good=step == "good") is (judged == 0)
            assert schedule.fails == (before if judged else 0 if step == "good" else before + 1)
        assert schedule.is_running is running


def checks(*answers: Callable[[], Any], config: HealthConfig = CONFIG) -> tuple[HealthChecks, list[Component]]:
    """Return checks of components that answer so; the first one in the loop has no check."""

    def made(answer: Callable[[], Any]) -> Component:
        class Asked(Component):
            def healthy(self) -> Any:
                return answer()

        return Asked()

    components = [Component(), *map(made, answers)]
    for component in components:
        give(component, log=logging.getLogger("asked"), _tlsrt_kept=[])
    hosts: Any = [
        SimpleNamespace(component=component, config=SimpleNamespace(health=config, programs=()))
        for component in components
    ]
    return HealthChecks(hosts), components


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raise_(error: BaseException) -> Any:
    raise error


async def later(value: object) -> object:
    await asyncio.sleep(0)
    return value() if callable(value) else value


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: None, ""), (lambda: True, ""), (lambda: "", ""), (lambda: "the disk is full", "the disk is full"),
        (lambda: False, "`healthy` said no"), (lambda: 7, "`healthy` returned int, not a text"),
        (lambda: raise_(OSError("gone")), "OSError: gone"), (lambda: "x" * 1000, "x" * 300),
        (lambda: raise_(TimeoutError()), "TimeoutError: "), (lambda: raise_(Unspeakable()), "Unspeakable"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_what_a_check_may_return(
    answer: Callable[[], object], words: str, is_coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def once() -> list[tuple[int, int, int]]:
        asked, _ = checks((lambda: later(answer)) if is_coroutine else answer)
        asked.each_beat(0.0)
        await asyncio.sleep(0.01)
        return list(asked.reports.values())

    outcome = HealthOutcome.FAILED if words else HealthOutcome.GOOD
    assert asyncio.run(once()) == [(1, outcome, 1 if words else 0)]
    assert [record.getMessage() for record in caplog.records] == (
        [f"not healthy (1 in a row): {words}"] if words else []
    )


def test_a_check_that_says_nothing_is_cancelled_and_the_others_are_asked_all_the_same() -> None:
    ended: list[str] = []

    async def hangs() -> None:
        try:
            await never()
        finally:
            ended.append("cancelled")

    async def once() -> list[tuple[int, int, int]]:
        asked, _ = checks(hangs, lambda: None)
        for now in (0.0, 0.5, 1.0, 1.5):
            asked.each_beat(now)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return list(asked.reports.values())

    assert asyncio.run(once()) == [(2, HealthOutcome.GOOD, 0), (1, HealthOutcome.TIMED_OUT, 1)]
    assert ended == ["cancelled"]


def test_a_component_without_a_check_is_not_asked() -> None:
    asked, _ = checks()
    asked.each_beat(0.0)
    assert not asked.reports


def test_a_recovery_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answers = iter(["bad", "bad", None])

    def ask() -> Awaitable[object] | object:
        return next(answers)

    asked, _ = checks(ask)
    fails: list[int] = []
    for now in (0.0, 3.0, 6.0):
        asked.each_beat(now)
        fails += [report[2] for report in asked.reports.values()]
    assert fails == [1, 2, 0], "the last one of each component is kept, and no other"
    assert caplog.records[-1].getMessage() == "healthy again after 2 failures"


def test_a_component_with_ready_is_not_ready_before_it_says_so_and_is_asked_at_every_beat(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    answers = iter(["no broker", "no broker", None, True, False])

    class Bridge(Component):
        async def ready(self) -> Any:
            return next(answers)

    component = Bridge()
    give(component, log=logging.getLogger("bridge"), _tlsrt_kept=[])
    told: list[bool] = []
    hosts: Any = [
        SimpleNamespace(component=component, config=SimpleNamespace(health=CONFIG, programs=()), note_ready=told.append)
    ]

    async def once() -> None:
        asked = HealthChecks(hosts)
        assert told == [False]
        asked.begin(0.0)
        for beat in (0.5, 1.0, 1.5, 2.0):
            await asyncio.sleep(0)
            asked.each_beat(beat)
        await asyncio.sleep(0)
        assert not asked.reports, "no process is restarted for it"

    asyncio.run(once())
    assert told == [False, False, False, True, True, False]
    assert [record.getMessage() for record in caplog.records] == [
        "not ready: no broker", "ready", "not ready: `ready` said no",
    ]  # fmt: skip
