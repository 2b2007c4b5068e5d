"""Attacked sentence: neither a body nor a handler nor a greedy caller hurts the loop, or those who call beside it."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE, VICTIM
from attackers.captured_package.captured.odd import CALL_ERRORS, ERRORS, RESULTS
from hosts.running_host import RunningHost, running

from tlsrt import AsyncClient
from tlsrt.channels.calls import caller as caller_module
from tlsrt.channels.frames.body import encode_request
from tlsrt.channels.frames.frame import FrameKind
from tlsrt.errors import CallError, Failed, InvalidArgument

TESTS = Path(__file__).parent.parent
ODD = "secondary/odd"
NESTED = (b"\xdd" + (5300).to_bytes(4, "big")) * 1060
AT_ONCE, WAIT_S = 60, 30


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], clients=["hostile", "innocent"],
        components={
            VICTIM: {"class": "captured.counter:Counter", "process": "shared"},
            ODD: {"class": "captured.odd:OddComponent", "process": "shared"},
        },
        policy={
            f"client/admin -> {ODD}": "*", f"client/hostile -> {ODD}": "*", f"client/hostile -> {VICTIM}": ["value"],
            f"client/innocent -> {VICTIM}": ["value"],
        },
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _the_loop_goes_on(host: RunningHost) -> Iterator[None]:
    yield
    assert host.loop("secondary")["restarts"] == 0
    assert host.client("innocent").call(VICTIM, "value", timeout_s=WAIT_S) == 0


def _end(call: Any) -> CallError:
    with pytest.raises(CallError) as ended:
        call()
    return ended.value


def _until_event(host: RunningHost, words: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    def is_told(_: object) -> bool:
        meanwhile()
        return words in host.cli("events").stdout

    host.until(is_told, f"an event with {words!r}", timeout_s=WAIT_S)


def test_handlers_of_all_kinds_end_their_own_calls(host: RunningHost) -> None:
    admin = host.client()
    for name in [*ERRORS, "recursion", *(f"result {name}" for name in RESULTS), *CALL_ERRORS]:
        for method in ("at_once", "later"):
            end = _end(lambda name=name, method=method: admin.call(ODD, method, name, timeout_s=WAIT_S))
            assert end.is_told and (name in CALL_ERRORS or type(end) is Failed), name
        items: list[Any] = []
        end = _end(lambda name=name, items=items: items.extend(admin.stream(ODD, "items", name, timeout_s=WAIT_S)))
        assert end.is_told and (name in CALL_ERRORS or type(end) is Failed), name
    for name in ("cancelled", "odd", "exit"):
        assert _end(lambda name=name: admin.call(ODD, "checked", {"name": name}, timeout_s=WAIT_S)).is_told
    assert admin.call(ODD, "exits_in_a_task", timeout_s=WAIT_S) == "good"


def test_nested_bodies_cost_a_loop_nothing(host: RunningHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 frames of 5 KB at once, ten times; each round of them ended the loop."""

    def encode(args: Any, kwargs: Any, key: Any) -> bytes:
        return NESTED if tuple(args) == ("nested",) else encode_request(args, kwargs, key)

    monkeypatch.setattr(caller_module, "encode_request", encode)
    waits: list[float] = []
    over = threading.Event()

    def call() -> None:
        innocent = host.client("innocent")
        while not over.is_set():
            begin = time.perf_counter()
            innocent.call(VICTIM, "value", timeout_s=WAIT_S)
            waits.append(time.perf_counter() - begin)

    async def attack() -> list[object]:
        async with AsyncClient(host.bundle("hostile")) as client:
            caller: Any = client._session.caller
            for _ in range(10):
                for _ in range(AT_ONCE):
                    deadline = caller._clock() + 10_000
                    caller._send(caller.endpoint.seal_request(FrameKind.REQUEST, ODD, "at_once", NESTED, deadline)[1])
                await client.call(VICTIM, "value", timeout_s=WAIT_S)
            calls = (client.call(ODD, "at_once", "nested", timeout_s=WAIT_S) for _ in range(AT_ONCE))
            ends: list[object] = await asyncio.gather(*calls, return_exceptions=True)
            await asyncio.to_thread(_until_event, host, "bad_body at secondary")  # a session that is over has no name
            return ends

    beside = threading.Thread(target=call)
    beside.start()
    try:
        ends = asyncio.run(attack())
    finally:
        over.set()
        beside.join()
    assert {type(end) for end in ends} == {InvalidArgument}, "each is answered"
    assert waits and statistics.median(waits) < 1.0


@pytest.mark.parametrize("method", ["compute", "compute_in_steps"])
def test_who_computes_much_waits_behind_who_does_not(host: RunningHost, method: str) -> None:
    """60 calls of 5 ms at once, always: 300 ms of work lie before every other call to the same loop.

    Of a handler that awaits nothing, and of one that awaits before each 5 ms.
    """
    innocent = host.client("innocent")
    command = [
        sys.executable,
        "-m",
        "attackers.greedy_client",
        str(host.folder / "hostile.tlsrt"),
        ODD,
        method,
        "60",
    ]
    greedy = subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert greedy.stdout is not None and greedy.stdout.readline() == "begun\n"
        waits: list[float] = []
        for _ in range(60):
            begin = time.perf_counter()
            innocent.call(VICTIM, "value", timeout_s=WAIT_S)
            waits.append(time.perf_counter() - begin)
        _until_event(host, "processor time of a loop, at secondary", lambda: innocent.call(VICTIM, "value"))
        out, _ = greedy.communicate(timeout=60)
    finally:
        greedy.kill()
        greedy.wait()
    print(f"median {1000 * statistics.median(waits):.1f} ms, most {1000 * max(waits):.1f} ms, {out.strip()}")
    assert statistics.median(waits) < AT_ONCE * 0.005 / 3
