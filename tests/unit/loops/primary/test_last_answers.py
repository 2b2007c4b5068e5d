"""Primary waits for the answers to the calls that were open when its drain began, and looks at each once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.loops.gate.open_calls import OpenCalls
from tlsrt.loops.gate.state import Call
from tlsrt.loops.primary.last_answers import LastAnswers

MANY = 1000
LONG_S = 20.0


class CountedCalls(dict[bytes, Call]):
    """Counts how often a name is looked up."""

    lookups = 0

    def __contains__(self, name: object) -> bool:
        self.lookups += 1
        return super().__contains__(name)


def opened(count: int, *, streams: bool = False) -> OpenCalls:
    calls = OpenCalls(256)
    flow = cast(Any, SimpleNamespace(streams=streams, session=SimpleNamespace(open_calls=count)))
    calls.by_name = CountedCalls({number.to_bytes(4, "big"): (flow, 0) for number in range(count)})
    return calls


def test_the_wait_ends_with_the_turn_of_the_last_answer_and_no_call_is_looked_at_twice() -> None:
    async def scene() -> None:
        calls, batch = opened(MANY), WriteBatch()
        looked = cast(CountedCalls, calls.by_name)
        waiting = asyncio.create_task(LastAnswers(calls, batch).wait(asyncio.get_running_loop().time() + LONG_S))
        await asyncio.sleep(0)
        for name in list(calls.by_name):
            assert not waiting.done()
            batch.begin_turn()
            calls.end(name)
            batch.end()
        assert looked.lookups <= 2 * MANY + 2
        async with asyncio.timeout(LONG_S / 2):
            await waiting
        batch.begin_turn()
        batch.end()
        assert looked.lookups <= 2 * MANY + 2, "nothing is looked at afterwards"

    asyncio.run(scene())


def test_calls_that_end_without_an_answer_streams_and_time_end_it_too() -> None:
    async def scene() -> None:
        now = asyncio.get_running_loop().time
        await LastAnswers(opened(3, streams=True), WriteBatch()).wait(now() + LONG_S)
        await LastAnswers(opened(3), WriteBatch()).wait(now())
        calls = opened(3)
        answers = LastAnswers(calls, WriteBatch())
        waiting = asyncio.create_task(answers.wait(now() + LONG_S))
        await asyncio.sleep(0)
        calls.end_where(lambda call: True)  # their time was over
        answers.look()
        async with asyncio.timeout(LONG_S / 2):
            await waiting

    asyncio.run(scene())
