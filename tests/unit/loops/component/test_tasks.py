"""Tasks of a component: what ends is told and started again, what ends too often ends the component."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import Busy, MisuseError
from tlsrt.loops.component import tasks
from tlsrt.loops.component.status_text import BURST, LENGTH_MAX, StatusText
from tlsrt.loops.component.tasks import RESTARTS, WINDOW_S, RestartBudget, SpawnedTask, Tasks


class Failed:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.happened = asyncio.Event()

    def fail(self, sentence: str) -> None:
        self.said.append(sentence)
        self.happened.set()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_S", 0.0)


def run(test: Callable[[Tasks, Failed], Awaitable[None]]) -> Failed:
    async def main() -> Failed:
        failed = Failed()
        async with asyncio.timeout(5):
            await test(Tasks(logging.getLogger("notes"), failed), failed)
        return failed

    return asyncio.run(main())


@given(st.lists(st.floats(0, 30), max_size=60))
def test_no_window_has_more_restarts_than_the_budget(gaps: list[float]) -> None:
    budget, now, taken = RestartBudget(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        in_window = [at for at in taken if at > now - WINDOW_S]
        assert budget.take(now) is (len(in_window) < RESTARTS)
        if len(in_window) < RESTARTS:
            taken.append(now)


@pytest.mark.parametrize("how", ["raise", "return", "exit", "foreign cancel"])
def test_a_task_that_ends_is_told_with_its_name_and_started_again_until_the_budget_is_spent(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    async def pump() -> None:
        runs.append(1)
        await asyncio.sleep(0)
        if how == "raise":
            raise OSError("broken pipe")
        if how == "exit":
            raise SystemExit(3)
        if how == "foreign cancel":
            raise asyncio.CancelledError

    async def test(own: Tasks, failed: Failed) -> None:
        spawned = own.spawn(pump, "", True)
        await failed.happened.wait()
        assert spawned.restarts == own.restarts == RESTARTS and spawned.name == "pump"
        await asyncio.sleep(0)
        assert not spawned.is_running and not len(own)

    said = run(test).said
    words = {"raise": "ended with OSError: broken pipe", "return": "returned", "exit": "ended with SystemExit: 3"}
    word = words.get(how, "ended with CancelledError: ")
    assert len(runs) == RESTARTS + 1 and said == [f"task pump has {word}, more than 5 times in 60 s"]
    assert [record.getMessage().partition(";")[0] for record in caplog.records[:-1]] == [f"task pump has {word}"] * 5


def test_a_task_that_may_return_does_and_its_exception_ends_the_component_at_once() -> None:
    async def fill(error: Exception | None) -> None:
        if error is not None:
            raise error

    async def test(own: Tasks, failed: Failed) -> None:
        own.spawn(partial(fill, None), "", False)
        own.spawn(fill(None), "", True)
        await asyncio.sleep(0.01)
        assert not failed.said and not len(own)
        own.spawn(fill(ValueError("bad")), "filling", True)
        await failed.happened.wait()

    assert run(test).said == ["task filling has ended with ValueError: bad"]


def test_they_are_cancelled_at_stop_and_one_alone_when_it_is_asked_for() -> None:
    ended: list[str] = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def test(own: Tasks, failed: Failed) -> None:
        first = own.spawn(partial(waits, "first"), "", True)
        own.spawn(partial(waits, "second"), "", True)
        own.spawn(waits("third"), "", True)
        await asyncio.sleep(0)
        assert len(own) == 3 and first.is_running and repr(first) == "<SpawnedTask waits>"
        first.cancel()
        await asyncio.sleep(0.01)
        assert ended == ["first"] and len(own) == 2
        await own.stop()
        assert sorted(ended) == ["first", "second", "third"] and not len(own)

    assert not run(test).said


@pytest.mark.parametrize("answer", ["return", "raise"])
@pytest.mark.parametrize("restart", [True, False])
def test_whatever_one_makes_of_its_cancellation_it_ends_and_the_component_does_not(
    restart: bool, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[str] = []

    async def answers(name: str) -> None:
        begun.append(name)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if answer == "raise":
                raise ValueError("on the way out") from None

    async def test(own: Tasks, failed: Failed) -> None:
        first = own.spawn(partial(answers, "first"), "first", restart)
        own.spawn(partial(answers, "second"), "second", restart)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0.01)
        assert not first.is_running
        await own.stop()
        assert not len(own)

    assert not run(test).said
    assert begun == ["first", "second"]
    assert ("task second was cancelled and raised ValueError: on the way out" in caplog.text) is (answer == "raise")


def test_one_that_does_not_end_is_named(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "STOP_S", 0.01)
    release = asyncio.Event()

    async def deaf() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def test(own: Tasks, failed: Failed) -> None:
        own.spawn(deaf, "", False)
        await asyncio.sleep(0)
        await own.stop()
        release.set()

    run(test)
    assert "task deaf does not end" in caplog.text


def test_what_cannot_be_spawned_is_refused() -> None:
    async def work() -> None: ...

    async def test(own: Tasks, failed: Failed) -> None:
        nonsense: Any = 7
        with pytest.raises(MisuseError, match=r"as in self.spawn\(self.pump\)"):
            own.spawn(nonsense, "", True)
        spawned: list[SpawnedTask] = [own.spawn(asyncio.Event().wait, "", True) for _ in range(tasks.TASKS_MAX)]
        with pytest.raises(Busy, match="256 of this component run already"):
            own.spawn(work(), "", True)
        await own.stop()
        assert len(spawned) == 256

    run(test)


def test_a_status_is_one_line_told_once_and_not_too_often() -> None:
    status = StatusText()
    assert status.told("connecting\nto it", 0.0) == r"connecting\nto it"
    assert status.told("connecting\nto it", 0.0) == ""
    assert len(status.told("x" * 1000, 0.0)) == LENGTH_MAX
    told = [status.told(f"try {number}", 0.0) for number in range(50)]
    assert len([line for line in told if line]) == BURST - 2
    assert status.told("done", 2.0) == f"done ({50 - BURST + 2} before it were too many a second)"
