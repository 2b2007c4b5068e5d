"""One sample for all who ask within a moment, and for all who watch."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import aclosing

from tlsrt.loops.sampling.samples import FRESH_S, Samples

WATCHERS, ITEMS = 200, 4


def test_a_burst_of_calls_costs_one_sample_and_none_is_older_than_said() -> None:
    now, numbers = [100.0], itertools.count()
    samples = Samples(lambda: next(numbers), lambda: now[0])
    assert [samples.now() for _ in range(1000)] == [0] * 1000
    now[0] += FRESH_S * 0.99
    assert samples.now() == 0
    now[0] += FRESH_S * 0.02
    assert samples.now() == 1
    now[0] -= 50.0  # of a clock that was set back no sample is fresh
    assert samples.now() == 2


def test_watchers_of_one_interval_share_each_sample_and_none_gets_one_twice() -> None:
    numbers = itertools.count()

    async def watch(samples: Samples[int], wait_s: float) -> list[int]:
        await asyncio.sleep(wait_s)
        async with aclosing(samples.every(0.1)) as items:
            return [await anext(items) for _ in range(ITEMS)]

    async def scene() -> tuple[list[list[int]], int]:
        samples = Samples(lambda: next(numbers))
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await asyncio.gather(*(watch(samples, number / WATCHERS / 10) for number in range(WATCHERS)))
        return found, round((loop.time() - began) / FRESH_S)

    found, moments = asyncio.run(scene())
    assert all(items == sorted(set(items)) for items in found)
    assert next(numbers) <= moments + 1, "as many as moments, however many watch"
    assert set(found[0][1:]) & set(found[-1][1:]), "the same samples, though one came a whole interval later"


def test_a_sample_that_cannot_be_taken_is_asked_for_again() -> None:
    answers: list[object] = [OSError("gone"), 7]

    def take() -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    samples: Samples[object] = Samples(take)
    try:
        samples.now()
    except OSError:
        assert samples.now() == 7
