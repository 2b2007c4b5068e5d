"""An awaited call resumes the task that awaits it as a future of asyncio does, and at once where no task runs."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tlsrt.channels.calls.pending_call import AwaitedCall
from tlsrt.errors import Unavailable


def answer(call: AwaitedCall, value: object) -> None:
    """Take an answer as `PendingCalls` does."""
    assert not call.is_done
    call.value, call.is_done = value, True


async def waiting(call: AwaitedCall, log: list[object]) -> object:
    try:
        found = await call
    except BaseException as error:
        log.append(type(error))
        raise
    log.append(found)
    return found


def in_a_loop(test: Callable[[AwaitedCall, list[object]], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(AwaitedCall(asyncio.get_running_loop(), "third/store", 1), [])

    asyncio.run(main())


def test_its_asker_goes_on_before_the_callback_that_wakes_it_ends() -> None:
    async def test(call: AwaitedCall, log: list[object]) -> None:
        task = asyncio.create_task(waiting(call, log))
        await asyncio.sleep(0)

        def act() -> None:
            answer(call, 7)
            assert log == []
            call.wake_now()
            log.append("after")

        asyncio.get_running_loop().call_soon(act)
        assert await task == 7 and log == [7, "after"] and call.done()

    in_a_loop(test)


def test_within_another_task_and_for_an_error_it_waits_for_its_turn() -> None:
    async def test(call: AwaitedCall, log: list[object]) -> None:
        task = asyncio.create_task(waiting(call, log))
        await asyncio.sleep(0)
        answer(call, 7)
        call.wake_soon()
        assert log == [], "this very task runs"
        await task
        other = AwaitedCall(call.get_loop(), "third/store", 1)
        failing = asyncio.create_task(waiting(other, log))
        await asyncio.sleep(0)
        other.fail(Unavailable("no"))
        other.fail(Unavailable("it has ended already"))
        assert log == [7]
        with pytest.raises(Unavailable, match=r"^no$"):
            await failing
        assert log == [7, Unavailable]

    in_a_loop(test)


@pytest.mark.parametrize("error", [None, Unavailable("no")])
def test_what_ended_before_it_is_awaited_is_told_at_once(error: Unavailable | None) -> None:
    async def test(call: AwaitedCall, log: list[object]) -> None:
        if error is None:
            answer(call, 7)
            assert await call == 7
        else:
            call.fail(error)
            with pytest.raises(Unavailable):
                await call
        assert not call.cancel() and call.wake is None

    in_a_loop(test)


def test_who_is_cancelled_waits_no_longer_and_a_bounded_wait_ends() -> None:
    async def test(call: AwaitedCall, log: list[object]) -> None:
        task = asyncio.create_task(waiting(call, log))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.done() and log == [asyncio.CancelledError]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await AwaitedCall(call.get_loop(), "third/store", 1)

    in_a_loop(test)


def test_an_asker_that_was_cancelled_in_the_turn_of_its_answer_is_cancelled() -> None:
    """The answer is there, and the task was told to end before it could go on: asyncio's own future does the same."""

    async def test(call: AwaitedCall, log: list[object]) -> None:
        task = asyncio.create_task(waiting(call, log))
        await asyncio.sleep(0)
        answer(call, 7)
        task.cancel()
        asyncio.get_running_loop().call_soon(call.wake_now)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == [asyncio.CancelledError]

    in_a_loop(test)


def test_an_error_keeps_nothing_alive_once_its_asker_has_it() -> None:
    """What was sent hangs on the frames of its traceback: 256 KiB for each call that failed."""

    class Sent:
        pass

    async def asking(call: Any, sent: Sent) -> None:
        with pytest.raises(Unavailable):
            await call

    async def test(call: AwaitedCall, log: list[object]) -> None:
        sent = Sent()
        left = weakref.ref(sent)
        task = asyncio.create_task(asking(call, sent))
        await asyncio.sleep(0)
        call.fail(Unavailable("no"))
        await task
        del task, sent
        assert left() is None

    gc.disable()
    try:
        in_a_loop(test)
    finally:
        gc.enable()
