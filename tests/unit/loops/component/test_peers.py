"""Peers: a typed proxy that calls, streams and uploads, and waits only for what has surely not run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pytest

from tlsrt import Busy, CallError, Component, MisuseError, OutcomeUnknown, Unavailable, handler, peer
from tlsrt.errors import Away
from tlsrt.loops.component.component import attach
from tlsrt.loops.component.peers import PeerCall


class Kernel(Protocol):
    """What the tests need of primary/kernel."""

    async def uname(self, deep: bool = False) -> dict[str, str]: ...

    @handler(idempotent=True)
    async def again(self) -> int: ...

    def frames(self, rate: int) -> AsyncIterator[int]: ...

    async def store(self, name: str, data: AsyncIterator[bytes]) -> int: ...

    def convert(self, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]: ...


class Report(Component):
    kernel = peer("primary/kernel", Kernel, wait_s=0.2, timeout_s=7.0)
    annotated: Kernel = peer("primary/kernel", wait_s=0.0)
    plain = peer("third/any", idempotent=("get",))

    async def release(self) -> str:
        return (await self.kernel.uname(deep=True))["release"]


def told(error: CallError, *, from_gate: bool = False) -> CallError:
    error.is_told, error.from_gate = True, from_gate
    return error


class ScriptedPort:
    """A Port whose answers are a script: values, or errors to raise."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.calls: list[tuple[object, ...]] = []

    def _next(self) -> Any:
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float,
        idempotency_key: str | None, wait_s: float | None = None,
    ) -> Any:  # fmt: skip
        self.calls.append((target, method, list(args), dict(kwargs), timeout_s, wait_s, idempotency_key is not None))
        return self._next()

    async def stream(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float
    ) -> AsyncIterator[Any]:
        self.calls.append((target, method, list(args), dict(kwargs)))
        for item in self._next():
            if isinstance(item, Exception):
                raise item
            yield item

    async def upload(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> Any:  # fmt: skip
        self.calls.append((target, method, list(args), dict(kwargs)))
        if self.script and self.script[0] == "take one":
            self.script.pop(0)
            await anext(parts)
        self._next()
        return len([part async for part in parts])

    async def exchange(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> AsyncIterator[Any]:  # fmt: skip
        self._next()
        async for part in parts:
            yield part.upper()

    def fail(self, sentence: str) -> None: ...


def run(test: Callable[[Report, ScriptedPort], Awaitable[None]], *script: object) -> ScriptedPort:
    port = ScriptedPort(*script)
    report = Report()
    log = logging.getLogger("report")
    attach(report, address="third/report", options={}, state=Path("/state"), log=log, port=port)

    async def main() -> None:
        async with asyncio.timeout(5):
            await test(report, port)

    asyncio.run(main())
    return port


async def parts() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


def test_a_call_is_made_as_it_is_written_and_waits_as_declared() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        assert await report.release() == "6.1"
        assert await report.kernel.again() == 1
        assert await report.annotated.again() == 2, "its annotation says the same"
        assert await report.plain.get(1) == 3
        assert await report.plain.put(1) == 4

    assert run(test, {"release": "6.1"}, 1, 2, 3, 4).calls == [
        ("primary/kernel", "uname", [], {"deep": True}, 7.0, 0.2, False),
        ("primary/kernel", "again", [], {}, 7.0, 0.2, True),
        ("primary/kernel", "again", [], {}, 30.0, 0.0, True),
        ("third/any", "get", [1], {}, 30.0, 5.0, True),
        ("third/any", "put", [1], {}, 30.0, 5.0, False),
    ]


def test_a_method_that_its_class_does_not_have_is_refused_where_it_is_written() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        for kernel in (report.kernel, report.annotated):
            with pytest.raises(AttributeError, match="primary/kernel has no method 'unmae', did you mean 'uname'"):
                kernel.unmae()  # type: ignore[attr-defined]
        assert repr(report.kernel) == "<peer primary/kernel>" and report.kernel is report.kernel
        assert not hasattr(report.plain, "_private")

    run(test)


def test_a_call_is_a_coroutine_for_tasks_and_groups() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        assert [*await asyncio.gather(report.plain.a(), report.plain.b())] == [1, 2]
        assert await asyncio.create_task(report.plain.c()) == 3
        assert await asyncio.wait_for(report.plain.d(), 1) == 4

    run(test, 1, 2, 3, 4)


AWAY = told(Away("starting"))
UNSURE = [
    told(Unavailable("down"), from_gate=True), told(Busy("full"), from_gate=True), OutcomeUnknown("lost"),
    told(Busy("of the handler")), told(Unavailable("of another one")),
]  # fmt: skip


@pytest.mark.parametrize("error", [AWAY, Busy("no room here"), Unavailable("not written")], ids=repr)
def test_a_stream_and_an_upload_wait_for_what_has_surely_not_run(error: CallError) -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        assert [item async for item in report.kernel.frames(2)] == [1, 2]
        assert await report.kernel.store("x", parts()) == 2
        assert [item async for item in report.kernel.convert(parts())] == [b"A", b"B"]

    port = run(test, error, [1, 2], error, error, None, error, None)
    assert [call[1] for call in port.calls] == ["frames", "frames", "store", "store", "store"]
    assert port.calls[2] == ("primary/kernel", "store", ["x"], {})


@pytest.mark.parametrize("error", UNSURE, ids=repr)
def test_they_do_not_wait_for_what_may_have_run(error: CallError) -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        with pytest.raises(type(error)):
            await anext(aiter(report.kernel.frames(2)))
        with pytest.raises(type(error)):
            await report.kernel.store("x", parts())

    run(test, error, error)


def test_nor_once_an_item_has_come_or_a_part_was_taken_or_the_wait_is_over() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        with pytest.raises(Away):
            assert [item async for item in report.kernel.frames(1)] == []
        with pytest.raises(Away):
            await report.kernel.store("x", parts())
        with pytest.raises(Away):
            assert [item async for item in report.annotated.frames(1)] == [], "wait_s=0"
        with pytest.raises(Away):
            assert [item async for item in report.kernel.frames(1)] == [], "0.2 s are over"

    port = run(test, [1, AWAY], "take one", AWAY, AWAY, *[AWAY] * 99)
    assert len(port.calls) < 30


def test_all_attempts_have_one_timeout_together() -> None:
    class Slow(ScriptedPort):
        def __init__(self) -> None:
            super().__init__()
            self.timeouts: list[float] = []

        async def stream(self, *given: Any, timeout_s: float) -> AsyncIterator[Any]:
            self.timeouts.append(timeout_s)
            await asyncio.sleep(0.05)
            raise AWAY
            yield 1

        async def upload(self, *given: Any, timeout_s: float) -> Any:
            self.timeouts.append(timeout_s)
            await asyncio.sleep(0.05)
            raise AWAY

    async def test() -> None:
        works: list[Callable[[], Awaitable[object]]] = [
            lambda: anext(aiter(report.kernel.frames(1))), lambda: report.kernel.store("x", parts()),
        ]  # fmt: skip
        for work in works:
            port.timeouts.clear()
            with pytest.raises(Away):
                await work()
            assert len(port.timeouts) <= 4, "the attempts count for wait_s of 0.2, and not the pauses alone"
            assert all(later < before - 0.04 for before, later in pairwise(port.timeouts))

    port, report = Slow(), Report()
    log = logging.getLogger("report")
    attach(report, address="third/report", options={}, state=Path("/state"), log=log, port=port)
    asyncio.run(test())


def test_a_stream_is_ended_early() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        call: Any = report.kernel.frames(1)
        async with aclosing(call) as frames:
            assert await anext(frames) == 1

    run(test, [1, 2, 3])


def test_a_call_that_is_not_awaited_is_told() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        with pytest.warns(RuntimeWarning, match="the call third/any get was never awaited or iterated"):
            report.plain.get(1)

    run(test)


def test_two_uploads_are_refused() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        with pytest.raises(MisuseError, match="it is given 2 uploads, and one is possible"):
            report.plain.put(parts(), data=parts())

    run(test)


@pytest.mark.parametrize("address", ["kernel", "primary/", "/kernel", "a/b/c", 7])
def test_an_address_that_is_none_is_refused(address: Any) -> None:
    with pytest.raises(MisuseError, match="write LOOP/NAME"):
        peer(address)
    with pytest.raises(MisuseError, match="write wait_s from 0 to 300"):
        peer("primary/kernel", wait_s=-1)


def test_a_call_that_was_begun_can_be_closed_and_thrown_into() -> None:
    async def test(report: Report, port: ScriptedPort) -> None:
        call: Coroutine[Any, Any, Any] = report.plain.get(1)
        assert isinstance(call, PeerCall)
        with pytest.raises(KeyError):
            call.throw(KeyError("x"))
        report.plain.get(2).close()

    run(test)
