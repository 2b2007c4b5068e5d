"""What forth/machine does when logind prepares something, without a bus: a lock that notes what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tlsrt.errors import Busy, Denied, Unavailable
from tlsrt.loops.component.grants import Runtime
from tlsrt.loops.forth import machine
from tlsrt.loops.forth.end_lock import delay_untrusted
from tlsrt.loops.forth.machine import Machine
from tlsrt.testing import ComponentUnderTest, running

FOREVER_S = 3600


class FakeLock:
    """A lock that is held, and a logind that prepares what the test says."""

    def __init__(self, address: str) -> None:
        self.changed = asyncio.Event()
        self.is_held = True
        self.delay_s: float | None = 5.0
        self.problem = ""
        self.refusals: list[Exception] = []  # of the next tries to take it
        self.moved = asyncio.Event()
        self._prepares: str | None = None

    async def keep(self) -> None:
        await asyncio.sleep(FOREVER_S)

    async def prepares(self) -> str | None:
        return self._prepares

    def prepare(self, what: str | None) -> None:
        self._prepares = what
        self.moved.clear()
        self.changed.set()

    async def take(self) -> None:
        self.moved.set()
        if self.refusals:
            raise self.refusals.pop()
        self.is_held = True

    def release(self) -> None:
        self.is_held = False
        self.moved.set()


@asynccontextmanager
async def machine_with_lock(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ComponentUnderTest, FakeLock]]:
    monkeypatch.setattr(machine, "EndLock", FakeLock)
    monkeypatch.setattr(machine, "AGAIN_S", 0.0)
    async with running(Machine, options={"sleep_s": 0}) as under_test:
        yield under_test, under_test.component._lock


def test_sleep_is_told_and_the_lock_comes_back_when_logind_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with machine_with_lock(monkeypatch) as (under_test, lock):
            heard = under_test.subscribe("sleep")
            await under_test.call("status")  # behind the subscription
            lock.prepare("sleep")
            assert await anext(heard) == {"phase": "before", "within_s": 0}
            await lock.moved.wait()
            assert not (await under_test.call("status"))["is_delayed"]
            lock.refusals.append(Unavailable("logind is away"))
            lock.prepare(None)
            assert await anext(heard) == {"phase": "after", "within_s": None}
            await lock.moved.wait()
            while not lock.is_held:
                await asyncio.sleep(0)
            said = await under_test.call("status")
            assert said["is_delayed"] and said["problem"] is None and said["within_s"] == 4.0

    asyncio.run(main())


@pytest.mark.parametrize("delay_s", [5.0, None])
def test_the_end_is_asked_for_again_while_the_runtime_is_busy(
    monkeypatch: pytest.MonkeyPatch, delay_s: float | None
) -> None:
    asked: list[float | None] = []

    async def main() -> None:
        async with machine_with_lock(monkeypatch) as (_, lock):
            ended = asyncio.Event()

            async def shutdown(runtime: Runtime, *, within_s: float | None = None) -> None:
                asked.append(within_s)
                if delay_s is not None and len(asked) < 3:
                    raise Busy("a reload is carried out")
                ended.set()

            monkeypatch.setattr(Runtime, "shutdown", shutdown)
            lock.delay_s = delay_s
            lock.prepare("shutdown")
            await ended.wait()
            assert lock.is_held, "it lasts as long as the process"

    asyncio.run(main())
    assert [one and round(one) for one in asked] == ([4, 4, 4] if delay_s else [None])


def refuse(error: Exception) -> Callable[..., Any]:
    async def shutdown(runtime: Runtime, *, within_s: float | None = None) -> None:
        raise error

    return shutdown


@pytest.mark.parametrize("error", [None, Denied("no"), Unavailable("the audit log did not take it")])
def test_a_host_that_cannot_be_stopped_delays_nothing(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    async def main() -> None:
        async with machine_with_lock(monkeypatch) as (under_test, lock):
            if error is not None:
                monkeypatch.setattr(Runtime, "shutdown", refuse(error))
            lock.prepare("shutdown")
            await lock.moved.wait()
            said = await under_test.call("status")
            assert not said["is_delayed"] and said["prepares"] == "shutdown"
            assert said["problem"] == (str(error) if error else said["problem"]) and said["problem"]

    asyncio.run(main())


def test_an_alarm_that_was_not_granted_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    clock = tmp_path / "class/rtc/rtc0"
    clock.mkdir(parents=True)
    (clock / "since_epoch").write_text("1700000000\n")
    (clock / "wakealarm").write_text("")
    monkeypatch.setattr(Machine, "sys", tmp_path)

    async def main() -> None:
        async with machine_with_lock(monkeypatch) as (under_test, _):
            assert await under_test.call("wake") == {"in_s": None}
            with pytest.raises(Denied, match="needs: settings"):
                await under_test.call("wake_in", 60)

    asyncio.run(main())


@pytest.mark.parametrize("said", [None, "5", -1, True, 1e6, 1 << 64, [5]])
def test_a_delay_that_cannot_be_is_not_known(said: object) -> None:
    assert delay_untrusted(said) is None and delay_untrusted(5_000_000) == 5.0
