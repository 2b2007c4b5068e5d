"""Workers that serve in threads of this process: whatever ends a call, the process is free for the next one."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Protocol

import pytest

from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.channels.control.program_request import encode_request
from tlsrt.errors import InvalidArgument, Unavailable, WorkerError
from tlsrt.loops.component.metrics import Metrics
from tlsrt.loops.component.program import Pipes, Program
from tlsrt.loops.component.worker import Worker
from tlsrt.loops.component.worker_method import compile_function
from tlsrt.loops.component.worker_pool import WorkerLimits, WorkerPool
from tlsrt.loops.component.worker_process import WorkerProcess
from tlsrt.worker.serving import ComponentGone, Serving


def size(data: bytes) -> int:
    return len(data)


def total(parts: Iterator[bytes]) -> int:
    return sum(map(len, parts))


def first(parts: Iterator[bytes]) -> bytes:
    return next(parts)


def lists(count: int) -> list[list[int]]:
    return [[]] * count


def lists_in_lists(count: int) -> Iterator[list[list[int]]]:
    yield [[]] * count


def numbers() -> Iterator[int]:
    yield from range(10**9)


def leave() -> None:
    raise ComponentGone


holds, release = threading.Event(), threading.Event()


def hold() -> None:
    holds.set()
    release.wait(30)


FUNCTIONS = {
    one.__name__: compile_function("model", one.__name__, one)
    for one in (size, total, first, lists, lists_in_lists, numbers, leave, hold)
}


class Threads:
    """Runs each worker in a thread."""

    def __init__(self, at_once: int = 1) -> None:
        self._limits = WorkerLimits(at_once, 60.0)
        self._threads: list[threading.Thread] = []
        self.begun = 0
        self.failure: Exception | None = None

    def worker(self, name: str) -> WorkerLimits:
        return self._limits

    async def begin(self, name: str) -> Pipes:
        self.begun += 1
        if self.failure is not None:
            raise self.failure
        (data, theirs), (errors, their_errors), (leash, their_leash) = [socket.socketpair() for _ in range(3)]
        their_errors.close()
        their_leash.close()
        for one in (data, errors, leash):
            one.setblocking(False)
        loop = asyncio.get_running_loop()
        over: asyncio.Future[tuple[int, int]] = loop.create_future()
        thread = threading.Thread(target=_serve, args=(theirs, lambda: loop.call_soon_threadsafe(_end, over)))
        self._threads.append(thread)
        thread.start()
        return Pipes(self.begun, data, errors, leash, over)

    def secrets(self, name: str) -> bytes:
        return b""

    def log(self, name: str, number: int, lines: Any) -> None:
        """Nothing is written there."""

    async def close(self) -> None:
        for thread in self._threads:
            await asyncio.to_thread(thread.join)


def _serve(data: socket.socket, ended: Callable[[], object]) -> None:
    data.recv(len(encode_request([])), socket.MSG_WAITALL)
    try:
        Serving(data).run(FUNCTIONS)
    except ComponentGone:
        pass
    data.close()
    ended()


def _end(over: asyncio.Future[tuple[int, int]]) -> None:
    over.set_result((Outcome.ENDED, 0))


def with_workers(
    test: Callable[[Any, Threads], Coroutine[Any, Any, None]], at_once: int = 1, kind: type | None = None,
    cancel_s: float | None = None,
) -> None:  # fmt: skip
    """Run a test that ends within 20 s with a worker."""

    holds.clear()
    release.clear()

    async def run() -> None:
        threads = Threads(at_once)
        pool = WorkerPool("model", threads, None, logging.getLogger("test"), Metrics(), cancel_s)
        try:
            async with asyncio.timeout(20):
                await test(Worker(pool, kind), threads)
        finally:
            await pool.close()
            await threads.close()

    asyncio.run(run())


def test_a_stream_that_its_reader_drops_leaves_the_worker_before_garbage_is_collected() -> None:
    async def test(model: Any, threads: Threads) -> None:
        async def handler() -> AsyncIterator[int]:
            async for number in model.numbers():
                yield number

        items = handler()
        assert await anext(items) == 0
        gc.disable()
        try:
            await items.aclose()  # type: ignore[attr-defined]
            assert await model.size(b"abc") == 3
        finally:
            gc.enable()
        assert threads.begun == 1

    with_workers(test)


@pytest.mark.parametrize("error", [RuntimeError("no microphone"), Unavailable("no microphone")])
def test_an_upload_that_raises_leaves_the_worker_free_for_the_next_call(error: Exception) -> None:
    async def upload() -> AsyncIterator[bytes]:
        yield b"abc"
        raise error

    async def test(model: Any, threads: Threads) -> None:
        with pytest.raises(type(error), match="no microphone"):
            await model.total(upload())
        assert await model.size(b"abcd") == 4
        assert threads.begun == 1

    with_workers(test)


def test_a_caller_that_gives_up_while_its_upload_ends_leaves_the_worker_free_for_the_next_call() -> None:
    async def test(model: Any, threads: Threads) -> None:
        ends, may_end = asyncio.Event(), asyncio.Event()

        async def upload() -> AsyncIterator[bytes]:
            try:
                yield b"abc"
                await asyncio.Event().wait()
            finally:
                ends.set()
                await may_end.wait()

        async def call() -> None:
            await model.first(upload())

        task = asyncio.create_task(call())
        await ends.wait()  # the answer is there
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        next_call = asyncio.create_task(_size(model))
        may_end.set()
        assert await next_call == 4
        assert threads.begun == 1

    with_workers(test)


async def _size(model: Any) -> Any:
    return await model.size(b"abcd")


async def _hold(model: Any) -> Any:
    return await model.hold()


async def _leave(model: Any) -> str:
    with pytest.raises(Unavailable):
        await model.leave()
    return "ended"


def test_what_has_no_room_is_an_error_of_who_made_it_and_the_worker_goes_on() -> None:
    async def test(model: Any, threads: Threads) -> None:
        with pytest.raises(InvalidArgument, match="8192 lists and maps"):
            await model.size([[]] * 8192)
        with pytest.raises(WorkerError, match="lists returned what has no room"):
            await model.lists(8192)
        with pytest.raises(WorkerError, match="lists_in_lists returned what has no room"):
            await anext(model.lists_in_lists(8192))
        assert await model.size(b"abcd") == 4
        assert threads.begun == 1

    with_workers(test)


def test_one_that_waits_for_a_call_is_heard_of_once_however_often_it_is_given_back() -> None:
    async def test(model: Any, threads: Threads) -> None:
        process = WorkerProcess(Program(threads, "model", ()))
        await process.load()
        heard: list[str] = []
        ended = asyncio.Event()

        def hear() -> None:
            heard.append("ended")
            ended.set()

        for _ in range(3):
            process.watch(hear)
        process.begin("leave", [], {}, None)
        await ended.wait()
        await process.close(orderly=False)
        assert heard == ["ended"]

    with_workers(test)


def test_one_that_cannot_be_begun_for_want_of_memory_is_told_and_not_kept() -> None:
    async def test(model: Any, threads: Threads) -> None:
        threads.failure = MemoryError()
        for words in ("MemoryError", "MemoryError.*tried again"):
            with pytest.raises(Unavailable, match=words):
                await model.size(b"abcd")
        assert threads.begun == 1

    with_workers(test)


def test_one_whose_answer_finds_no_memory_in_a_call_that_was_given_up_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle(process: WorkerProcess) -> None:
        raise MemoryError

    async def test(model: Any, threads: Threads) -> None:
        call = asyncio.create_task(_hold(model))
        await asyncio.to_thread(holds.wait)
        monkeypatch.setattr(WorkerProcess, "settle", settle)
        call.cancel()
        try:
            assert await model.size(b"abcd") == 4
            assert threads.begun == 2
        finally:
            release.set()

    with_workers(test)


def test_another_one_is_begun_for_who_waits_when_one_dies_beside_a_busy_one() -> None:
    async def test(model: Any, threads: Threads) -> None:
        long_call = asyncio.create_task(_hold(model))
        await asyncio.to_thread(holds.wait)
        try:
            ended, size = await asyncio.gather(_leave(model), _size(model))
            assert (ended, size) == ("ended", 4)
            assert threads.begun == 3
        finally:
            release.set()
        await long_call

    with_workers(test, at_once=2)


def test_one_that_works_on_after_its_call_was_given_up_is_ended_and_another_one_answers() -> None:
    async def test(model: Any, threads: Threads) -> None:
        for begun in (1, 2):
            call = asyncio.create_task(_hold(model))
            await asyncio.to_thread(holds.wait)
            call.cancel()
            try:
                assert await model.size(b"abcd") == 4
                assert threads.begun == begun + 1
            finally:
                release.set()
            holds.clear()
            release.clear()

    with_workers(test, cancel_s=0.01)


def test_one_that_hears_of_the_cancel_in_time_goes_on() -> None:
    async def test(model: Any, threads: Threads) -> None:
        items = model.numbers()
        assert await anext(items) == 0
        await items.aclose()
        assert await model.size(b"abcd") == 4
        assert threads.begun == 1

    with_workers(test, cancel_s=15)


class Wrong(Protocol):
    """Says of a function what is not so."""

    async def size(self, data: bytes) -> str: ...


def test_an_answer_of_another_type_than_the_protocol_says_ends_the_process() -> None:
    async def test(model: Any, threads: Threads) -> None:
        for count in (1, 2):
            with pytest.raises(Unavailable, match="broke its protocol: size returned another type"):
                await model.size(b"abcd")
            assert threads.begun == count

    with_workers(test, kind=Wrong)
