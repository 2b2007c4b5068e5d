"""Timers of a component as the runtime runs them: due times on the disk first, no overlap, and every end is told."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt import Component
from tlsrt.loops.component.timers import at, every
from tlsrt.loops.component.timetable import Due, Now
from tlsrt.loops.runtime.due_times import DAMAGE, NAME, parse_due_times, read_due_times, write_due_times
from tlsrt.loops.runtime.timers import AGAIN_S, ComponentTimers

NOON = 20_000 * 86_400 + 43_200


class FakeClock:
    """A host's clocks that the test moves."""

    def __init__(self) -> None:
        self.boot, self.wall = 1000.0, float(NOON)

    def now(self) -> Now:
        return Now(self.boot, self.wall)

    def offset(self, at: int) -> int:
        return 0

    def passes(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds


class Jobs(Component):
    """Says what it did."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen = dict[str, Any]()

    @every("5s")
    async def poll(self) -> None:
        self.ran.append("poll")
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    @at("0 13 * * *")
    async def hourly(self) -> None:
        self.seen = json.loads((self.folder / NAME).read_text())
        self.ran.append("hourly")

    folder: Path


class Bench:
    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.component = Jobs()
        self.component.folder = folder
        self.clock = clock
        self.timers = ComponentTimers(self.component, folder, logging.getLogger("jobs"), clock, lambda: 0.0)

    async def passes(self, seconds: float) -> list[str]:
        """Let time pass and a beat come; return what ran."""
        self.clock.passes(seconds)
        before = len(self.component.ran)
        self.timers.each_beat()
        for _ in range(3):
            await asyncio.sleep(0)
        return self.component.ran[before:]


def run(test: Callable[[Bench], Awaitable[None]], folder: Path, clock: FakeClock | None = None) -> None:
    async def main() -> None:
        bench = Bench(folder, clock or FakeClock())
        bench.timers.start()
        try:
            await test(bench)
        finally:
            await bench.timers.stop(0.05)

    asyncio.run(main())


def test_what_is_due_runs_at_the_beat_and_its_next_due_time_is_on_the_disk_before(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        assert read_due_times(tmp_path)["hourly"].at == NOON + 3600
        assert await bench.passes(4.9) == [] and await bench.passes(0.2) == ["poll"]
        assert sorted(await bench.passes(3600)) == ["hourly", "poll"]
        assert bench.component.seen["timers"]["hourly"]["at"] == NOON + 3600 + 86_400
        assert await bench.passes(1.0) == []

    run(test, tmp_path)


def test_a_process_that_comes_again_goes_on_and_makes_up_for_what_it_missed(tmp_path: Path) -> None:
    clock = FakeClock()

    async def first(bench: Bench) -> None:
        assert await bench.passes(1.0) == []

    async def second(bench: Bench) -> None:
        assert await bench.passes(0.5) == ["hourly"], "missed, and made up for once"
        assert await bench.passes(0.5) == []

    async def third(bench: Bench) -> None:
        assert await bench.passes(0.5) == []

    run(first, tmp_path, clock)
    clock.passes(2 * 86_400)
    run(second, tmp_path, clock)
    run(third, tmp_path, clock)


def test_a_run_that_overlaps_itself_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench) -> None:
        bench.component.gate.clear()
        assert await bench.passes(5) == ["poll"]
        assert await bench.passes(5) == [] and await bench.passes(5) == []
        assert [record.getMessage() for record in caplog.records] == [
            "timer poll is left out (1 in all): its run of 5 s ago is not over",
            "timer poll is left out (2 in all): its run of 10 s ago is not over",
        ]
        bench.component.gate.set()
        await asyncio.sleep(0.01)
        assert await bench.passes(5) == ["poll"]

    run(test, tmp_path)


def test_what_a_run_raises_is_told_with_its_count_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(bench: Bench) -> None:
        bench.component.error = OSError("gone")
        assert [await bench.passes(5), await bench.passes(5)] == [["poll"], ["poll"]]
        bench.component.error = None
        assert await bench.passes(5) == ["poll"]
        bench.component.error = OSError("gone again")
        assert await bench.passes(5) == ["poll"]
        assert [record.getMessage() for record in caplog.records] == [
            "timer poll failed (1 in a row, 1 of 1 runs)", "timer poll failed (2 in a row, 2 of 2 runs)",
            "timer poll failed (1 in a row, 3 of 4 runs)",
        ]  # fmt: skip

    run(test, tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b'{"version": 1, "timers": {"hourly": {"at": 1', b"[]", b"\xff\xfe", b"7"])
def test_a_damaged_file_is_a_sentence_and_the_next_due_time(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).write_bytes(data)

    async def test(bench: Bench) -> None:
        assert await bench.passes(1) == []
        assert read_due_times(tmp_path)["hourly"].at == NOON + 3600

    run(test, tmp_path)
    words = caplog.records[0].getMessage()
    assert words.startswith("cannot read .timers.json: it is damaged or cut off (")
    assert words.endswith("): all timers begin anew, with their next due times")


def test_a_disk_that_refuses_keeps_a_run_from_beginning_and_is_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    async def test(bench: Bench) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("tlsrt.loops.runtime.timers.write_due_times", refuse)
            assert await bench.passes(3600) == ["poll"]
            assert "cannot write the due times of timers: [Errno 28]" in caplog.text
            assert "timer hourly does not run now: its next due time is not on the disk" in caplog.text
        await bench.passes(AGAIN_S)
        assert read_due_times(tmp_path)["hourly"].at == NOON + 3600 + 86_400

    run(test, tmp_path)


def test_what_runs_at_stop_may_end_and_is_cancelled_if_it_does_not(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        bench.component.gate.clear()
        await bench.passes(5)
        (job,) = [job for job in bench.timers._jobs if job.task is not None]
        task = job.task
        await bench.timers.stop(0.01)
        assert task is not None and task.cancelled()

    run(test, tmp_path)


def test_a_period_below_the_beat_has_its_own_timer(tmp_path: Path) -> None:
    class Fast(Component):
        count = 0
        enough = asyncio.Event()

        @every("10ms")
        async def tick(self) -> None:
            self.count += 1
            if self.count == 3:
                self.enough.set()

    class RealClock(FakeClock):
        def now(self) -> Now:
            return Now(asyncio.get_running_loop().time(), 0.0)

    async def main() -> None:
        fast = Fast()
        timers = ComponentTimers(fast, tmp_path, logging.getLogger("fast"), RealClock())
        timers.start()
        async with asyncio.timeout(5):
            await fast.enough.wait()
        await timers.stop(0.1)

    asyncio.run(main())
    assert not list(tmp_path.iterdir())


TIMES = st.floats(0, 1e10)
DUES = st.dictionaries(st.text(max_size=9), st.builds(Due, st.text(max_size=9), TIMES, TIMES), max_size=4)


@given(DUES)
def test_a_file_reads_as_it_was_written_and_every_cut_of_it_is_refused(dues: dict[str, Due]) -> None:
    text = json.dumps({"version": 1, "timers": {name: vars_of(due) for name, due in dues.items()}}).encode()
    assert parse_due_times(text) == dues
    for end in range(0, len(text), max(1, len(text) // 7)):
        with pytest.raises(DAMAGE):
            parse_due_times(text[:end])


def vars_of(due: Due) -> dict[str, object]:
    return {"spec": due.spec, "at": due.at, "seen": due.seen}


@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["version", "timers", "a", "at", "seen", "spec"]), inner, max_size=4),
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_any_bytes_are_due_times_or_damage(data: bytes) -> None:
    try:
        parse_due_times(data)
    except DAMAGE:
        pass


def test_the_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_due_times(tmp_path, {"a": Due("every 60", 1.0, 2.0)})

    def fails(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        write_due_times(tmp_path, {"a": Due("every 60", 61.0, 3.0)})
    assert read_due_times(tmp_path) == {"a": Due("every 60", 1.0, 2.0)}
