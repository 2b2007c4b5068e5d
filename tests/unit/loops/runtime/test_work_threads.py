"""Threads for work: bounded, named, counted, and honest about what cannot be stopped."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from tlsrt.errors import Busy, DeadlineExceeded, MisuseError
from tlsrt.loops.component.work import NoWork, WorkCount
from tlsrt.loops.runtime.library_settings import thread_environment
from tlsrt.loops.runtime.thread_guard import guarded
from tlsrt.loops.runtime.thread_watch import ThreadWatch
from tlsrt.loops.runtime.work_threads import WAITING_EACH, WorkThreads

LOG = logging.getLogger("test")


def raises(error: BaseException) -> None:
    raise error


def test_results_and_errors_come_back_and_what_no_future_may_hold_is_told() -> None:
    async def scene() -> None:
        work = WorkThreads(2, LOG)
        assert await work.run("a", int, ["12"], {"base": 8}, None) == 10
        with pytest.raises(ValueError, match="nine"):
            await work.run("a", raises, [ValueError("nine")], {}, 5.0)
        for error in (StopIteration(), SystemExit(3), KeyboardInterrupt()):
            with pytest.raises(RuntimeError, match=f"raises raised {type(error).__name__}"):
                await work.run("a", raises, [error], {}, None)
        assert work.counted() == WorkCount(0, 0, 0)
        work.shutdown()

    asyncio.run(scene())


def test_what_waits_is_bounded_in_all_and_for_each_subject() -> None:
    async def scene() -> None:
        work, go = WorkThreads(1, LOG), threading.Event()
        first = asyncio.create_task(work.run("a", go.wait, [], {}, None))
        while work.counted().running == 0:
            await asyncio.sleep(0)
        waiting = [asyncio.create_task(work.run("a", int, [], {}, None)) for _ in range(WAITING_EACH // 2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await work.run("a", int, [], {}, None)
        waiting += [asyncio.create_task(work.run("b", int, [], {}, None)) for _ in range(WAITING_EACH // 2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await work.run("c", int, [], {}, None)
        assert work.counted() == WorkCount(1, WAITING_EACH, 0)
        waiting[0].cancel()
        await asyncio.wait({waiting[0]})
        assert work.counted() == WorkCount(1, WAITING_EACH - 1, 0), "what had not begun is not done"
        go.set()
        assert await asyncio.gather(first, *waiting[1:]) == [True, *[0] * (WAITING_EACH - 1)]
        work.shutdown()

    asyncio.run(scene())


@pytest.mark.parametrize("way", ["cancelled", "late"])
def test_what_has_begun_goes_on_and_is_counted_and_told(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        work, go = WorkThreads(1, LOG), threading.Event()
        await work.run("a", int, [], {}, None)  # the thread is there: on a busy machine its start takes a while
        task = asyncio.create_task(work.run("a", go.wait, [], {}, 0.5 if way == "late" else None))
        while work.counted().running == 0 and not task.done():
            await asyncio.sleep(0.001)
        if way == "cancelled":
            task.cancel()
        with pytest.raises((DeadlineExceeded, asyncio.CancelledError)):
            await task
        assert work.counted() == WorkCount(1, 0, 1)
        go.set()
        assert await work.run("a", int, [], {}, None) == 0
        assert work.counted() == WorkCount(0, 0, 0)
        work.shutdown()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    assert "a thread cannot be stopped (1 of 1 threads do so)" in caplog.text


def test_without_threads_one_sentence_says_what_to_configure() -> None:
    sentence = "cannot start a thread: put `threads: N` under needs of third/x"
    with pytest.raises(MisuseError) as caught:
        asyncio.run(NoWork("third/x").run("", int, [], {}, None))
    assert str(caught.value) == sentence
    with pytest.raises(RuntimeError) as refused:
        guarded(int, lambda: 1, "third/x", 0)()
    assert str(refused.value) == sentence


def test_one_thread_too_many_is_told_and_one_that_ends_is_waited_for() -> None:
    count = iter([3, 4, 5, 6])

    def number() -> int:
        return next(count)

    guard = guarded(lambda: "started", number, "third/x", 2)
    assert guard() == "started" and guard() == "started"
    with pytest.raises(RuntimeError, match="all 2 of third/x run; put a larger `threads` under its needs"):
        guard()

    def refused() -> str:
        raise RuntimeError("can't start new thread")

    answers: list[Callable[[], str]] = [refused, lambda: "started"]
    assert guarded(lambda: answers.pop(0)(), lambda: 0, "third/x", 2)() == "started"


def test_the_module_that_started_a_thread_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outer_of_threads.py").write_text("import inner_of_threads\n")
    (tmp_path / "inner_of_threads.py").write_text("import counted_tasks\ncounted_tasks.single = False\n")
    (tmp_path / "counted_tasks.py").write_text("single = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    import counted_tasks  # type: ignore[import-not-found]

    watch = ThreadWatch(lambda: bool(counted_tasks.single))
    with watch.component(0, "third/fine"):
        pass
    with watch.component(1, "third/bad"):
        import outer_of_threads  # type: ignore[import-not-found]  # noqa: F401
    with watch.component(2, "third/later"):
        pass
    assert watch.index == 1
    assert watch.sentence().startswith("component third/bad: the import of inner_of_threads started a thread")
    for name in ("outer_of_threads", "inner_of_threads", "counted_tasks"):
        sys.modules.pop(name)


def test_the_extension_module_is_named_whose_library_starts_a_thread_as_it_is_loaded() -> None:
    tasks: list[int] = []

    def load(loader: object, spec: ModuleSpec) -> ModuleType:
        tasks.append(1)  # as OpenBLAS does, before the module has run
        return ModuleType(spec.name)

    original = ExtensionFileLoader.create_module
    ExtensionFileLoader.create_module = load  # type: ignore[method-assign,assignment]
    try:
        watch = ThreadWatch(lambda: not tasks)
        with watch.component(0, "third/bad"):
            ExtensionFileLoader("blas", "/blas.so").create_module(ModuleSpec("blas", None))
        assert watch.sentence().startswith("component third/bad: the import of blas started a thread")
        assert ExtensionFileLoader.create_module is load
    finally:
        ExtensionFileLoader.create_module = original  # type: ignore[method-assign]


def test_a_process_tells_libraries_how_many_threads_they_may_start() -> None:
    assert thread_environment(0) == {
        "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"
    }  # fmt: skip
    assert thread_environment(4)["OMP_NUM_THREADS"] == "4" and thread_environment(4)["OPENBLAS_NUM_THREADS"] == "1"
