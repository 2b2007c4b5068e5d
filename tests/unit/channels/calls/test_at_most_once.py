"""Wherever a frame may leave, its calls are open: when the channel fails then, none of them is taken for unsent."""

from __future__ import annotations

import asyncio

import pytest
from fakes.linked_components import CONSOLE, LinkedComponents, run

from tlsrt.channels.frames.frame import BUNDLE_MAX
from tlsrt.errors import CallError, OutcomeUnknown

CALLS = BUNDLE_MAX + 24  # the gate opens 64 for a session, and those that are repeated count twice


@pytest.mark.parametrize("before", range(1, CALLS + 1))
def test_a_channel_that_fails_between_two_calls_of_a_turn_runs_none_twice(before: int) -> None:
    keys = [f"k{number}" for number in range(CALLS)]

    async def test(wired: LinkedComponents) -> None:
        pending = wired.hosts[CONSOLE].caller.pending
        calls: list[asyncio.Future[object]] = [asyncio.ensure_future(wired.call("get", key)) for key in keys[:before]]
        left: list[int] = []

        def fail() -> None:
            left.append(sum(wired.counts))  # requests that are on their way
            pending.fail_all()

        asyncio.get_running_loop().call_soon(fail)
        calls += [asyncio.ensure_future(wired.call("get", key)) for key in keys[before:]]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        unknown = sum(isinstance(answer, OutcomeUnknown) for answer in answers)
        assert all(isinstance(answer, (str, OutcomeUnknown)) for answer in answers)
        assert unknown == left[0], "exactly what had left may have run"
        assert max(wired.store.calls.values()) == 1, "a call without a key ran twice"

    run(test)


def test_a_bundle_that_cannot_be_sent_is_unsent_and_runs_once_when_there_is_room() -> None:
    keys = [f"k{number}" for number in range(CALLS)]

    async def test(wired: LinkedComponents) -> None:
        wired.full.add(CONSOLE)
        calls = [asyncio.ensure_future(wired.call("get", key)) for key in keys]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        wired.full.clear()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, (str, CallError)) for answer in answers)
        ran = [key for key, answer in zip(keys, answers, strict=True) if isinstance(answer, str)]
        assert sorted(wired.store.calls) == sorted(ran), "what was told to have failed did not run"

    run(test)
