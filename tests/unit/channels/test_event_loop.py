"""What the event loop does with signals, threads, ends, debug mode and many cancelled timers."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tlsrt.channels.event_loop import CANCELLED_MIN, EventLoop

PATIENCE_S = 30


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()


def test_a_signal_wakes_a_loop_that_waits(loop: EventLoop) -> None:
    async def main() -> None:
        came = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        sender = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        sender.start()
        async with asyncio.timeout(PATIENCE_S):
            await came.wait()
        sender.join()

    loop.run_until_complete(main())


def test_another_thread_wakes_a_loop_that_waits_and_so_does_its_answer(loop: EventLoop) -> None:
    async def main() -> None:
        came = asyncio.Event()
        sender = threading.Timer(0.05, loop.call_soon_threadsafe, (came.set,))
        sender.start()
        async with asyncio.timeout(PATIENCE_S):
            await came.wait()
            assert await asyncio.to_thread(os.getpid) == os.getpid()
        sender.join()

    loop.run_until_complete(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_run_leaves_the_rest_for_the_next(loop: EventLoop, kind: type[BaseException]) -> None:
    done: list[str] = []

    def fail() -> None:
        raise kind

    loop.call_soon(done.append, "before")
    loop.call_soon(fail)
    loop.call_soon(done.append, "after")
    with pytest.raises(kind):
        loop.run_forever()
    assert done == ["before"]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert done == ["before", "after"]


def test_a_timer_comes_when_it_is_due_and_not_before(loop: EventLoop) -> None:
    async def main() -> None:
        for wait in (0.001, 0.02, 0):
            begun = loop.time()
            await asyncio.sleep(wait)
            assert loop.time() >= begun + wait

    loop.run_until_complete(main())


def test_timers_that_were_cancelled_are_not_kept_until_they_would_be_due(loop: EventLoop) -> None:
    async def main() -> None:
        kept = loop.call_later(3600, print)
        timers = [loop.call_later(1000 + number, print) for number in range(4 * CANCELLED_MIN)]
        for timer in timers[1:]:
            timer.cancel()
        await asyncio.sleep(0)
        assert sorted(loop._scheduled) == [timers[0], kept]
        timers[0].cancel()
        await asyncio.sleep(0)
        assert loop._scheduled == [kept]
        assert loop._timer_cancelled_count == 0

    loop.run_until_complete(main())


def test_debug_mode_tells_of_a_slow_callback_and_can_be_ended(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop.slow_callback_duration = 0.0
        loop.set_debug(True)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        loop.set_debug(False)
        await asyncio.sleep(0)  # the turn that was begun in debug mode ends so
        caplog.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not caplog.records

    loop.run_until_complete(main())
    loop.set_debug(True)
    loop.run_until_complete(asyncio.sleep(0))
    assert any("took" in record.getMessage() for record in caplog.records)


def test_streams_and_programs_run_on_it(loop: EventLoop, tmp_path: Path) -> None:
    sent = bytes(range(256)) * 4096  # more than a socket takes at once

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with asyncio.timeout(PATIENCE_S), await asyncio.start_unix_server(echo, tmp_path / "echo"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "echo")
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent
            writer.close()
            program = await asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
            assert (await program.communicate(b"cat"))[0] == b"cat"

    loop.run_until_complete(main())


def test_many_descriptors_that_are_ready_are_all_called_in_one_turn(loop: EventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(200)]
    called: list[int] = []
    for number, (near, far) in enumerate(pairs):
        loop.add_reader(near, called.append, number)
        far.send(b"x")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert sorted(called) == [*range(200)]
    for near, far in pairs:
        loop.remove_reader(near)
        near.close()
        far.close()


def test_a_loop_that_has_nothing_to_do_sleeps(loop: EventLoop) -> None:
    turns: list[float] = []
    poll, *others = loop._wait

    def counted(timeout: float, most: int) -> Any:
        turns.append(timeout)
        return poll(timeout, most)

    loop._wait = (counted, *others)  # type: ignore[assignment]
    loop.run_until_complete(asyncio.sleep(0.2))
    assert len(turns) <= 6
    assert max(turns) > 0.1


def test_a_loop_that_was_stopped_before_it_runs_does_not_wait(loop: EventLoop) -> None:
    loop.call_later(3600, print)
    loop.stop()
    loop.run_forever()


def test_a_timer_of_years_is_waited_for(loop: EventLoop) -> None:
    loop.call_later(1e9, print)  # more ms than epoll_wait(2) takes
    stopper = threading.Timer(0.05, loop.call_soon_threadsafe, (loop.stop,))
    stopper.start()
    loop.run_forever()
    stopper.join()


@pytest.mark.parametrize("end", ["reader", "writer"])
def test_who_watches_one_end_of_a_pipe_hears_that_the_other_has_ended(loop: EventLoop, end: str) -> None:
    """The kernel tells neither EPOLLIN nor EPOLLOUT then, but EPOLLHUP or EPOLLERR alone."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    if end == "reader":
        while len(os.read(reader, 65536)) == 65536 and select.select([reader], [], [], 0)[0]:
            pass
        os.close(writer)
        loop.add_reader(reader, loop.stop)
    else:
        os.close(reader)
        loop.add_writer(writer, loop.stop)
    loop.call_later(PATIENCE_S, pytest.fail, "it was not told")
    loop.run_forever()
    if end == "reader":
        loop.remove_reader(reader)
        os.close(reader)
    else:
        loop.remove_writer(writer)
        os.close(writer)


def test_a_task_that_died_is_told_at_once_and_not_when_it_is_collected(loop: EventLoop) -> None:
    """Its error has a frame, which has that of the turn behind it."""
    told: list[Any] = []
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))

    async def dies() -> None:
        sys._getframe(1)  # as code that looks at the stack does: frames are objects from then on
        raise OSError("unseen")

    def begin() -> None:
        loop.create_task(dies())

    async def main() -> None:
        loop.call_soon(begin)
        for _ in range(5):
            await asyncio.sleep(0.01)
            if told:
                return

    gc.disable()
    try:
        loop.run_until_complete(main())
    finally:
        gc.enable()
    assert [str(one) for one in told] == ["unseen"]
