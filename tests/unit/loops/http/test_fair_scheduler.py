"""Heavy work of many: one piece at a time, with a turn for everybody else between two."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tlsrt.loops.http.fair_scheduler import SMALL_BYTES, SMALL_PARTS, FairScheduler, is_small


def test_others_have_a_turn_between_two_pieces() -> None:
    async def main() -> list[str]:
        heavy, done = FairScheduler(), list[str]()
        loop = asyncio.get_running_loop()

        def work(name: str) -> None:
            done.append(name)
            loop.call_soon(done.append, "beat")

        await asyncio.gather(*(heavy.do(partial(work, name), "client/a", is_small=False) for name in "abc"))
        return done

    assert asyncio.run(main()) == ["a", "beat", "b", "beat", "c", "beat"]


def test_small_work_passes_the_line() -> None:
    async def main() -> list[str]:
        heavy, done = FairScheduler(), list[str]()
        first = asyncio.ensure_future(heavy.do(lambda: done.append("heavy"), "client/a", is_small=False))
        second = asyncio.ensure_future(heavy.do(lambda: done.append("behind"), "client/a", is_small=False))
        await asyncio.sleep(0)
        await heavy.do(lambda: done.append("small"), "client/a", is_small=True)
        await asyncio.gather(first, second)
        return done

    assert asyncio.run(main()) == ["heavy", "small", "behind"]


def test_a_failure_and_a_cancelled_piece_hold_up_nobody() -> None:
    async def main() -> int:
        heavy = FairScheduler()
        with pytest.raises(ZeroDivisionError):
            await heavy.do(lambda: 1 // 0, "client/a", is_small=False)
        gone = asyncio.ensure_future(heavy.do(lambda: 1, "client/a", is_small=False))
        await asyncio.sleep(0)
        gone.cancel()
        return await heavy.do(lambda: 2, "client/a", is_small=False)

    assert asyncio.run(main()) == 2


def test_each_client_has_a_line_of_its_own() -> None:
    async def main() -> list[str]:
        heavy, done = FairScheduler(), list[str]()
        wishes = [*["hog"] * 5, "b", "b", "c"]
        await asyncio.gather(*(heavy.do(partial(done.append, name), name, is_small=False) for name in wishes))
        return done

    assert asyncio.run(main()) == ["hog", "hog", "b", "c", "hog", "b", "hog", "hog"]


def test_one_that_is_cancelled_in_its_turn_gives_it_on() -> None:
    async def main() -> int:
        heavy = FairScheduler()
        first = asyncio.ensure_future(heavy.do(lambda: 1, "client/a", is_small=False))
        gone = asyncio.ensure_future(heavy.do(lambda: 2, "client/a", is_small=False))
        last = asyncio.ensure_future(heavy.do(lambda: 3, "client/b", is_small=False))
        await first
        gone.cancel()
        result = await asyncio.wait_for(last, 5)
        assert await heavy.do(lambda: 4, "client/a", is_small=False) == 4
        return result

    assert asyncio.run(main()) == 3


@pytest.mark.parametrize("value", [None, 1, "text", b"x" * SMALL_BYTES, [1] * 200, {"a": {"b": [1, 2]}}])
def test_small_values(value: object) -> None:
    assert is_small(value)


@pytest.mark.parametrize(
    "value", ["x" * (SMALL_BYTES + 1), [1] * SMALL_PARTS, [[[]] * 90] * 90, {"k": ["x" * 3000, "x" * 3000]}]
)
def test_large_values(value: object) -> None:
    assert not is_small(value)
