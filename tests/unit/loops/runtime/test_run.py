"""The run of a loop's event loop."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tlsrt.loops.runtime.run import run_to_end


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_task_or_callback_that_ends_the_process_ends_itself(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def fail() -> None:
        raise kind

    async def task() -> None:
        fail()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(fail)
        loop.call_soon(done.append, "beside it")
        failing = loop.create_task(task())
        await asyncio.wait([failing])
        assert type(failing.exception()) is kind
        done.append("end")

    loop = asyncio.new_event_loop()
    run_to_end(loop, main(), logging.getLogger("loop"))
    loop.close()
    assert done == ["beside it", "end"]
    assert [record.getMessage() for record in caplog.records].count(
        f"a task raised {kind.__name__}, which ends nothing but itself"
    ) == 2


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_what_the_process_itself_raises_comes_out(kind: type[BaseException]) -> None:
    async def main() -> None:
        raise kind

    loop = asyncio.new_event_loop()
    with pytest.raises(kind):
        run_to_end(loop, main(), logging.getLogger("loop"))
    loop.close()
