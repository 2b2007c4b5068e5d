"""Handlers of all kinds: whatever one raises or returns ends exactly its own call, at once and with a typed error."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from attackers.captured_package.captured.odd import CALL_ERRORS, ERRORS, RESULTS, OddComponent
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls import caller
from tlsrt.channels.frames.body import encode_request
from tlsrt.channels.frames.structure import StructureError
from tlsrt.errors import CallError, Failed, InvalidArgument, OutcomeUnknown, StreamBroken
from tlsrt.loops.dispatch import faults, immediate_calls, responder, streams

FAULTS = (*ERRORS, "recursion")
UNSENDABLE = tuple(f"result {name}" for name in RESULTS)


async def _streamed(wired: LinkedComponents, method: str, *args: object) -> list[Any]:
    """Return the items of a stream, and how it ended as the last one."""
    items: list[Any] = []
    try:
        async for item in wired.hosts[CONSOLE].caller.stream(STORE, method, args, {}, timeout_s=5):
            items.append(item)
    except CallError as error:
        items.append(error)
    return items


def _is_fault(outcome: object) -> bool:
    return type(outcome) is Failed and outcome.is_told


@pytest.mark.parametrize("name", [*FAULTS, *UNSENDABLE])
@pytest.mark.parametrize("method", ["at_once", "later", "structured"])
def test_a_handler_ends_its_own_call_and_no_other(method: str, name: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        names = ["good", name, "good", name, *["good"] * 30, name]
        outcomes = await asyncio.gather(*(wired.call(method, each) for each in names), return_exceptions=True)
        for each, outcome in zip(names, outcomes, strict=True):
            assert _is_fault(outcome) if each == name else outcome in ("good", {"held": "good"})
        assert await wired.call("at_once", "good") == "good", "the component goes on"

    assert not run(test, OddComponent).refused


@pytest.mark.parametrize("name", [*FAULTS, *UNSENDABLE])
def test_a_stream_always_ends_at_its_reader(name: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        good, end = await _streamed(wired, "items", name)
        assert good == "good" and _is_fault(end)
        assert await _streamed(wired, "items", "good") == ["good", "good"]

    assert not run(test, OddComponent).refused


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_stream_raises_after_its_end_changes_nothing(name: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        outcome = await _streamed(wired, "ends_badly", name)
        assert outcome[:2] == ["good", "good"] and (len(outcome) == 2 or _is_fault(outcome[2]))
        items = wired.hosts[CONSOLE].caller.stream(STORE, "ends_badly", [name], {}, timeout_s=5)
        assert await anext(items) == "good"
        await items.aclose()  # type: ignore[attr-defined]
        assert await wired.call("at_once", "good") == "good"

    run(test, OddComponent)


@pytest.mark.parametrize("name", CALL_ERRORS)
def test_any_text_of_an_error_travels(name: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        outcomes = [
            await asyncio.gather(wired.call(method, name), return_exceptions=True) for method in ("at_once", "later")
        ]
        ends = [outcomes[0][0], outcomes[1][0], (await _streamed(wired, "items", name))[1]]
        for end in ends:
            assert isinstance(end, CallError) and end.is_told and end.code == CALL_ERRORS[name][1]
            assert len(end.message) <= 1000

    assert not run(test, OddComponent).refused


@pytest.mark.parametrize("name", ["cancelled", "closed", "group", "odd", "exit", "interrupt", "memory", "bug"])
@pytest.mark.parametrize("method", ["checked", "checked_later", "checked_stream"])
def test_so_does_the_check_of_a_parameter(method: str, name: str) -> None:
    async def test(wired: LinkedComponents) -> None:
        if method == "checked_stream":
            (end,) = await _streamed(wired, method, {"name": name})
            ends: list[Any] = [end]
        else:
            calls = (wired.call(method, {"name": each}) for each in (name, "", name, "", name))
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert ends[1] == ends[3] == ""
        # what the check of a dataclass refuses in the usual way is the caller's mistake
        assert all(type(each) in (Failed, InvalidArgument) for each in ends[::2])

    assert not run(test, OddComponent).refused


def test_a_handler_that_cancels_itself_has_failed() -> None:
    async def test(wired: LinkedComponents) -> None:
        with pytest.raises(Failed):
            await wired.call("cancels_itself", "a")

    run(test, OddComponent)


def test_a_call_that_is_cancelled_is_not_answered_and_its_repetition_is() -> None:
    async def test(wired: LinkedComponents) -> None:
        first = asyncio.ensure_future(wired.call("waits", "a", idempotency_key="k", timeout_s=5))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(wired.call("waits", "a", idempotency_key="k", timeout_s=5))
        await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(second, 1)

    run(test, OddComponent)


@pytest.mark.parametrize(
    "garbage", [b"\xc1", b"\x91" * 40 + b"\xc0", b"\x81\x92\x01\x02\x04", b"\xdd\x00\x00\xff\xff" * 1000]
)
def test_an_answer_that_cannot_be_read_ends_its_call_at_once(garbage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (immediate_calls, responder, streams):
        monkeypatch.setattr(module, "pack_value", lambda value: garbage)

    async def test(wired: LinkedComponents) -> None:
        outcomes = await asyncio.gather(
            *(wired.call(method, "good", timeout_s=300) for method in ["at_once"] * 20 + ["later"] * 20),
            return_exceptions=True,
        )
        assert {type(outcome) for outcome in outcomes} == {Failed}
        (end,) = await _streamed(wired, "items", "good")
        assert isinstance(end, (Failed, StreamBroken))

    assert set(run(test, OddComponent).refused) == {"bad_answer"}


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"\xc1", "bad_body"),
        ((b"\xdd" + (5000).to_bytes(4, "big")) * 1000, "bad_body"),
        ((b"\xdd" + (5300).to_bytes(4, "big")) * 1060, "bad_body"),
        ((b"\xdd" + (9900).to_bytes(4, "big")) * 2000, "bad_body"),
        (b"\x93\x91" + b"\x91" * 40 + b"\x90\x80\xc0", "unfit_body"),
        (b"\x93\x91\x81\x01\x02\x80\xc0", "unfit_body"),
    ],
)
def test_a_request_that_cannot_be_read_is_answered_and_told_of(
    garbage: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(args: Any, kwargs: Any, key: Any) -> bytes:
        return garbage if args == ("garbage",) else encode_request(args, kwargs, key)

    monkeypatch.setattr(caller, "encode_request", encode)

    async def test(wired: LinkedComponents) -> None:
        names = ["good", "garbage", *["good"] * 20]
        outcomes = await asyncio.gather(*(wired.call("at_once", name) for name in names), return_exceptions=True)
        assert outcomes[0] == "good" and {str(outcome)[:25] for outcome in outcomes} <= {
            "good",
            "cannot read the arguments",
        }
        assert isinstance(outcomes[1], InvalidArgument)
        assert await wired.call("at_once", "good") == "good"

    wired = run(test, OddComponent)
    assert wired.refused + wired.reports.refused == [reason]


def test_what_a_component_fails_at_is_logged_a_few_times_and_shortly(caplog: pytest.LogCaptureFixture) -> None:
    now = 0
    log = faults.Faults("secondary/odd", logging.getLogger("secondary/odd"), lambda: now)

    def recurse(number: int) -> int:
        return recurse(number + 1) if number % 2 else other(number + 1)

    def other(number: int) -> int:
        return recurse(number + 1)

    for _ in range(500):
        try:
            recurse(0)
        except RecursionError as error:
            log.fold("get", error)
    assert len(caplog.records) == faults.LOGGED_AT_ONCE
    assert len(caplog.text) < faults.LOGGED_AT_ONCE * 6000
    now += 5000
    told = log.fold("get", StructureError("it is nested more than 32 deep"))
    assert told.message == "secondary/odd get gave a result that cannot be sent: it is nested more than 32 deep"
    assert caplog.records[-1].getMessage().endswith("(480 faults before this one are not logged)")
