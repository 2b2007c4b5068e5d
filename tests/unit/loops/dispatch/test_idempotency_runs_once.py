"""A call with an idempotency key runs once, however close together its repetitions come; one without never twice."""

from __future__ import annotations

import asyncio

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.frames.frame import FrameKind
from tlsrt.errors import Conflict, OutcomeUnknown, Unavailable
from tlsrt.loops.dispatch.idempotency import digest_of


@pytest.mark.parametrize("method", ["get", "wait"])
def test_repetitions_in_one_bundle_run_once(method: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.store.release.set()
        calls = [wired.call(method, "same", idempotency_key="k") for _ in range(9)]
        results = await asyncio.gather(wired.call("get", "first"), *calls)
        assert len(set(results[1:])) == 1
        assert wired.store.calls["same"] == 1

    run(test)


@pytest.mark.parametrize("method", ["get", "wait"])
def test_repetitions_in_frames_of_their_own_run_once(method: str) -> None:
    """They arrive in one read, so the second is taken before the first has taken a step."""

    async def test(wired: LinkedComponents) -> None:
        wired.store.release.set()
        caller = wired.hosts[CONSOLE].caller
        caller._batcher = None
        calls = [caller.call(STORE, method, ["same"], idempotency_key="k") for _ in range(4)]
        assert len(set(await asyncio.gather(*calls))) == 1
        assert wired.store.calls["same"] == 1

    run(test)


@pytest.mark.parametrize("method", ["get", "wait"])
def test_a_key_with_other_arguments_is_a_conflict_and_no_answer_to_another_question(method: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.store.release.set()
        first = await wired.call(method, "same", idempotency_key="k")
        with pytest.raises(Conflict, match="other arguments"):
            await wired.call(method, "other", idempotency_key="k")
        assert wired.store.calls["other"] == 0
        assert await wired.call(method, "same", idempotency_key="k") == first
        assert wired.store.calls["same"] == 1

    run(test)


def test_arguments_with_names_are_the_same_in_any_order() -> None:
    assert digest_of([1], {"a": 1, "b": [2]}) == digest_of([1], {"b": [2], "a": 1})
    assert digest_of([1], {"a": 1, "b": [2]}) != digest_of([1], {"a": [2], "b": 1})


def test_one_that_is_cancelled_before_its_first_step_may_be_repeated() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = wired.hosts[STORE].responder
        wired.store.release.set()
        call = asyncio.ensure_future(wired.call("wait", "same", idempotency_key="k"))
        while not responder.running:
            await asyncio.sleep(0)
        assert len(responder._in_flight.answers) == 1
        for request in list(responder._in_flight.by_name.values()):
            responder._in_flight.stop(request)
        while responder.running:
            await asyncio.sleep(0)
        assert not responder._in_flight.answers
        assert not wired.store.calls["same"]
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert await wired.call("wait", "same", idempotency_key="k") == "same"
        assert wired.store.calls["same"] == 1

    run(test)


def test_one_that_is_cancelled_half_way_may_be_repeated() -> None:
    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call("wait", "same", idempotency_key="k"))
        while not wired.store.calls["same"]:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        while wired.hosts[STORE].responder.running:
            await asyncio.sleep(0)
        wired.store.release.set()
        assert await wired.call("wait", "same", idempotency_key="k") == "same"
        assert wired.store.calls["same"] == 2

    run(test)


def test_a_channel_that_goes_down_and_up_in_one_turn_repeats_no_call() -> None:
    """Requests that wait for the end of the turn are told to be unsent and sealed anew; they must not leave as well."""

    async def test(wired: LinkedComponents) -> None:
        caller = wired.hosts[CONSOLE].caller
        calls = [asyncio.ensure_future(wired.call("get", key)) for key in "abcd"]
        await asyncio.sleep(0)
        assert len(caller.pending.by_number) == 4
        caller.set_up(False)
        caller.pending.fail_all()
        caller.set_up(True)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results[0], OutcomeUnknown)
        assert results[1:] == [f"{key} for {CONSOLE}" for key in "bcd"]
        assert set(wired.store.calls.values()) == {1}

    run(test)


@pytest.mark.parametrize(("method", "runs"), [("wait", 1), ("again", 2)])
def test_a_repetition_to_a_recipient_that_was_started_anew_does_not_run(method: str, runs: int) -> None:
    """Unless the method may run twice: then it does."""

    async def test(wired: LinkedComponents) -> None:
        call = asyncio.ensure_future(wired.call(method, "same", idempotency_key="k"))
        while not wired.store.calls["same"]:
            await asyncio.sleep(0)
        wired.restart()
        wired.store.release.set()
        if runs == 1:
            with pytest.raises(OutcomeUnknown, match="started anew"):
                await call
        else:
            assert await call == "same"
        assert wired.store.calls["same"] == runs

    run(test)


def test_a_repetition_to_a_host_that_was_started_anew_does_not_run_though_incarnations_are_counted_anew() -> None:
    """The repetition waits for the channel, and only when that comes up is it known that it is another host's."""

    async def test(wired: LinkedComponents) -> None:
        caller, calls = wired.hosts[CONSOLE].caller, wired.store.calls
        call = asyncio.ensure_future(wired.call("wait", "same", idempotency_key="k"))
        while not calls["same"]:
            await asyncio.sleep(0)
        caller.set_up(False)
        caller.pending.fail_all()
        while not caller._waiting:
            await asyncio.sleep(0.001)
        wired.hosts[STORE] = wired._host(STORE)  # of the same number, with nothing in its memory
        wired.store.calls = calls
        wired.store.release.set()
        wired.world.gate.calls.by_name.clear()  # the gate is another, too
        caller.set_new_host()
        caller.set_up(True)
        with pytest.raises(OutcomeUnknown, match="started anew"):
            await call
        assert calls["same"] == 1

    run(test)


def test_a_call_that_was_not_sealed_yet_runs_at_the_recipient_that_was_started_anew() -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.store.release.set()
        caller = wired.hosts[CONSOLE].caller
        caller.set_up(False)
        call = asyncio.ensure_future(wired.call("wait", "same", idempotency_key="k"))
        await asyncio.sleep(0)
        wired.restart()
        wired.store.release.set()
        caller.set_up(True)
        assert await call == "same"
        assert wired.store.calls["same"] == 1

    run(test)


@pytest.mark.parametrize("key", [None, "k"])
def test_an_error_of_a_handler_is_the_answer_and_the_call_is_not_repeated(key: str | None) -> None:
    """Whatever its word is: a handler that called somebody who was away may have done something before."""

    async def test(wired: LinkedComponents) -> None:
        with pytest.raises(Unavailable, match="somebody else"):
            await wired.call("fail", "same", idempotency_key=key)
        assert wired.store.calls["same"] == 1

    run(test)


def test_a_component_that_starts_is_asked_again() -> None:
    async def test(wired: LinkedComponents) -> None:
        responder = wired.hosts[STORE].responder
        responder.hold()
        call = asyncio.ensure_future(wired.call("get", "same"))
        while FrameKind.ERROR not in wired.kinds:
            await asyncio.sleep(0)
        responder.start()
        assert await call == f"same for {CONSOLE}"
        assert wired.store.calls["same"] == 1

    run(test)
