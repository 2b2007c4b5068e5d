"""The disk thread: the event loop goes on while the disk does not, what waits is bounded, nothing is answered twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tlsrt.budget import Budget, OverBudget
from tlsrt.errors import Failed
from tlsrt.loops.disk_lines import TOGETHER, TOGETHER_BYTES, DiskLines
from tlsrt.loops.disk_thread import BYTES_SHARE, WAITING_SHARE, DiskThread, DiskWork, EachAlone, outcome_of


class StuckDisk:
    """A worker that waits before it does what it got, until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.begun = threading.Event()
        self.groups: list[int] = []

    def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
        self.begun.set()
        assert self.may_go_on.wait(30)
        self.groups.append(len(works))
        return [outcome_of(work) for work in works]

    def rest(self) -> None:
        return


@asynccontextmanager
async def stuck(count: int) -> AsyncIterator[tuple[DiskThread, StuckDisk, list[asyncio.Task[int]]]]:
    """A thread that is stuck with one thing of client/a, while `count` - 1 more of it wait."""
    worker = StuckDisk()
    disk = DiskThread("test-disk", worker)
    tasks = [asyncio.create_task(disk.run("client/a", DiskWork(partial(int, number)))) for number in range(count)]
    try:
        await asyncio.to_thread(worker.begun.wait, 10)
        yield disk, worker, tasks
    finally:
        worker.may_go_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        disk.close()


def test_the_event_loop_goes_on_and_all_is_answered_in_order() -> None:
    async def scene() -> None:
        async with stuck(300 if WAITING_SHARE > 300 else WAITING_SHARE) as (disk, worker, tasks):
            for _ in range(100):  # with the disk in the event loop this would not end
                await asyncio.sleep(0)
            assert disk.waits_s() > 0 and not any(task.done() for task in tasks)
            worker.may_go_on.set()
            assert await asyncio.gather(*tasks) == list(range(len(tasks)))
            assert disk.waits_s() < 1
            assert sum(worker.groups) == len(tasks) and max(worker.groups) <= TOGETHER

    asyncio.run(scene())


def test_one_subject_that_fills_its_share_is_busy_and_no_other() -> None:
    async def scene() -> None:
        async with stuck(WAITING_SHARE) as (disk, worker, tasks):
            with pytest.raises(OverBudget, match="waits for the disk already") as caught:
                await disk.run("client/a", DiskWork(int))
            assert caught.value.budget is Budget.DISK
            other = asyncio.create_task(disk.run("client/b", DiskWork(int)))
            large = asyncio.create_task(disk.run("client/c", DiskWork(int, size=BYTES_SHARE)))
            await asyncio.sleep(0)
            with pytest.raises(OverBudget, match="too many bytes"):
                await disk.run("client/c", DiskWork(int, size=1))
            worker.may_go_on.set()
            assert await other == 0 and await large == 0
            assert await disk.run("client/a", DiskWork(int)) == 0, "there is room again"
            assert len(tasks) == WAITING_SHARE

    asyncio.run(scene())


def test_what_is_cancelled_is_settled_all_the_same() -> None:
    async def scene() -> None:
        worker = StuckDisk()
        disk = DiskThread("test-disk", worker)
        settled: list[object] = []
        task = asyncio.create_task(disk.run("client/a", DiskWork(lambda: 7), settled.append))
        await asyncio.to_thread(worker.begun.wait, 10)
        task.cancel()
        await asyncio.wait({task})
        worker.may_go_on.set()
        assert await disk.run("client/a", DiskWork(lambda: 8)) == 8
        assert settled == [7]
        disk.close()

    asyncio.run(scene())


class _Leaves(BaseException):
    pass


@pytest.mark.parametrize("error", [StopIteration(5), SystemExit(3), asyncio.CancelledError(), _Leaves()])
@pytest.mark.parametrize("where", ["work", "worker", "settled", "rest"])
def test_whatever_is_raised_keeps_no_caller_waiting_and_leaves_the_thread_and_its_room(
    error: BaseException, where: str
) -> None:
    def fail(outcome: object = None) -> Any:
        raise error

    class Worker(EachAlone):
        def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
            return super().carry_out(works) if where != "worker" else [fail()]

        def rest(self) -> None:
            if where == "rest":
                fail()

    async def scene() -> None:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))
        disk = DiskThread("test-disk", Worker())
        for _ in range(2):
            asked = [
                disk.run("a", DiskWork(fail if where == "work" else int, size=1), fail if where == "settled" else None),
                disk.run("a", DiskWork(lambda: 7, size=1)),
            ]
            async with asyncio.timeout(10):
                found = await asyncio.gather(*asked, return_exceptions=True)
            bad = {"work": 1, "worker": 2}.get(where, 0)
            assert [isinstance(one, RuntimeError) for one in found] == [True] * bad + [False] * (2 - bad)
            assert found[1] == 7 or where == "worker"
            assert not len(disk._waiting) and not len(disk._bytes)
        if where in ("settled", "rest"):
            assert told, "it is told of"
        disk.close()

    asyncio.run(scene())


def test_a_worker_that_forgets_some_leaves_no_one_waiting() -> None:
    class Forgets(EachAlone):
        def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
            return []

    async def scene() -> None:
        disk = DiskThread("test-disk", Forgets())
        for _ in range(2):
            with pytest.raises(RuntimeError, match="did 0"):
                async with asyncio.timeout(10):
                    await disk.run("a", DiskWork(int))
        disk.close()

    asyncio.run(scene())


def test_an_error_belongs_to_its_own_work_and_a_broken_worker_to_all_that_it_had() -> None:
    def refuse() -> int:
        raise Failed("no")

    class Broken:
        def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
            raise ZeroDivisionError

        def rest(self) -> None:
            return

    async def scene() -> None:
        disk = DiskThread("test-disk", EachAlone())
        found = await asyncio.gather(
            disk.run("a", DiskWork(refuse)), disk.run("a", DiskWork(int)), return_exceptions=True
        )
        assert isinstance(found[0], Failed) and found[1] == 0
        disk.post("a", DiskWork(refuse))  # no caller waits for it
        assert await disk.run("a", DiskWork(int)) == 0
        disk.close()
        broken = DiskThread("test-disk", Broken())
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await broken.run("a", DiskWork(int))
        broken.close()

    asyncio.run(scene())


def test_one_subject_with_much_to_do_holds_up_another_for_one_operation() -> None:
    """Sixty things of each kind wait; what another one wants is done behind the one that runs."""

    class Steps(EachAlone):
        def __init__(self) -> None:
            self.done: list[list[str]] = []
            self.begun = threading.Event()
            self.may_go_on = threading.Semaphore(0)

        def carry_out(self, works: Sequence[DiskWork[Any]]) -> list[object]:
            self.begun.set()
            assert self.may_go_on.acquire(timeout=30)
            self.done.append([str(outcome_of(work)) for work in works])
            return list(self.done[-1])

    async def scene(is_change: bool, size: int, names: list[str]) -> list[list[str]]:
        worker = Steps()
        disk = DiskThread("test-disk", worker)
        greedy = [
            asyncio.create_task(
                disk.run("client/a", DiskWork(lambda: "a", is_change=is_change or bool(number % 2), size=size))
            )
            for number in range(20)
        ]
        await asyncio.to_thread(worker.begun.wait, 10)
        others = [
            asyncio.create_task(disk.run(f"client/{name}", DiskWork(lambda name=name: name)))  # type: ignore[misc]
            for name in names
        ]
        await asyncio.sleep(0)
        for _ in range(len(names) + 2):
            worker.may_go_on.release()
        assert await asyncio.gather(*others) == names
        done = list(worker.done)
        for _ in range(60):
            worker.may_go_on.release()
        await asyncio.gather(*greedy)
        disk.post("client/a", DiskWork(lambda: "posted"))
        assert await disk.run_last(DiskWork(lambda: "last")) == "last"
        assert worker.done[-2:] == [["posted"], ["last"]]
        disk.close()
        return done

    for is_change, size in ((False, 0), (True, 0), (True, TOGETHER_BYTES // 4)):
        done = asyncio.run(scene(is_change, size, ["b", "c"]))
        before = done.index(["b"])
        assert before <= 2 and done.index(["c"]) <= before + 2, done


def test_lines_are_served_in_turn_and_changes_together() -> None:
    lines: DiskLines[str] = DiskLines()
    for number in range(3):
        lines.add("a", f"a{number}", is_change=True)
    lines.add("a", "a-read")
    lines.add("b", "b-read")
    lines.add("b", "b0", is_change=True)
    lines.add("c", "c0", is_change=True)
    lines.add_last("end")
    lines.add("c", "c-large", is_change=True, size=TOGETHER_BYTES + 1)
    assert lines.take() == ["a0", "c0", "a1"], "in one operation, as far as what they hold is little"
    assert lines.take() == ["b-read"], "it was passed over"
    assert lines.take() == ["c-large"], "an operation of its own"
    assert lines.take() == ["a2", "b0"]
    assert lines.take() == ["a-read"]
    assert lines.take() == ["end"] and not lines
    for number in range(TOGETHER + 1):
        lines.add("a", str(number), is_change=True)
    assert len(lines.take()) == TOGETHER and len(lines.take()) == 1
