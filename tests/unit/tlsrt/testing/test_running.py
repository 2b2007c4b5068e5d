"""A component in a test without a host: calls, streams, uploads, events, peers and errors as on a host."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tlsrt import (
    CallError,
    Component,
    ConfigError,
    DeadlineExceeded,
    Denied,
    Failed,
    InvalidArgument,
    MisuseError,
    NotFound,
    database,
    handler,
)
from tlsrt.testing import ComponentUnderTest, Sent, running, running_sync


@dataclass(frozen=True)
class Cup:
    size: int
    sugar: bool = False


class Kettle(Component):
    """Boils."""

    class Options:
        litres: int = 1

    async def start(self) -> None:
        self.boiled = 0
        self.closed = False
        (self.state / "started").write_text("yes")

    @handler
    async def boil(self, minutes: int) -> str:
        await asyncio.sleep(0)
        self.boiled += minutes
        self.publish("boiled", self.boiled)
        return f"{minutes} min, {self.options.litres} l, for {self.caller}"

    @handler
    async def pour(self, cup: Cup) -> Cup:
        return Cup(cup.size + 1, True)

    @handler
    async def drops(self, count: int) -> AsyncIterator[int]:
        try:
            for number in range(count):
                yield number
        finally:
            self.closed = True

    @handler
    async def fill(self, water: AsyncIterator[bytes]) -> int:
        return sum([len(part) async for part in water])

    @handler
    async def filter(self, water: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in water:
            yield part.upper()

    @handler
    async def burst(self) -> None:
        raise RuntimeError("scalding")

    @handler
    async def empty(self) -> None:
        raise NotFound("no water")

    @handler
    async def steam(self) -> Any:
        return "x" * 2_000_000

    @handler
    async def kernel(self) -> str:
        return str((await self.call("primary/kernel", "uname", verbose=True))["release"])

    @handler
    async def others(self) -> list[int]:
        return [item async for item in self.stream("third/taps", "flow", 3)]

    @handler
    async def send(self, data: bytes) -> int:
        result: int = await self.upload("third/taps", "take", data)
        return result

    @handler
    async def wait(self) -> None:
        await asyncio.Event().wait()


class FakeKernel:
    """A peer of any class."""

    def uname(self, verbose: bool) -> dict[str, str]:
        return {"release": f"6.1 {verbose}"}


class Taps(Component):
    """A peer that is a component, with its checks."""

    @handler
    async def flow(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number * 10

    @handler
    async def take(self, data: AsyncIterator[bytes]) -> int:
        return sum([len(part) async for part in data])


def run(test: Callable[[ComponentUnderTest], Awaitable[None]], **more: Any) -> None:
    async def main() -> None:
        async with running(Kettle, **more) as kettle:
            await test(kettle)

    asyncio.run(main())


def test_a_call_has_options_caller_and_state(tmp_path: Path) -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        assert await kettle.call("boil", 3) == "3 min, 2 l, for client/test"
        assert await kettle.call("boil", minutes=1, caller="third/cook") == "1 min, 2 l, for third/cook"
        assert kettle.component.boiled == 4

    run(test, options={"litres": 2}, state=tmp_path)
    assert (tmp_path / "started").read_text() == "yes"


def test_arguments_and_results_go_through_the_checks_of_a_host() -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        assert await kettle.call("pour", {"size": 1}) == {"size": 2, "sugar": True}
        with pytest.raises(InvalidArgument, match="minutes: expected int, got str"):
            await kettle.call("boil", "3")
        with pytest.raises(InvalidArgument, match="cannot send the arguments"):
            await kettle.call("boil", object())
        with pytest.raises(NotFound, match="did you mean 'boil'"):
            await kettle.call("boill", 3)
        with pytest.raises(InvalidArgument, match="drops is a stream of items: iterate it"):
            await kettle.call("drops", 3)
        with pytest.raises(InvalidArgument, match="boil is not a stream: call it"):
            await anext(kettle.stream("boil", 3))
        with pytest.raises(Failed, match="gave a result that cannot be sent: its 2000005 bytes do not fit"):
            await kettle.call("steam")

    run(test)


def test_an_unknown_option_is_refused() -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        raise AssertionError("it has started")

    with pytest.raises(ConfigError, match="unknown option liters, did you mean litres"):
        run(test, options={"liters": 2})


def test_a_fault_is_failed_for_its_caller_and_its_cause_is_shown_to_the_test(caplog: pytest.LogCaptureFixture) -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        with pytest.raises(Failed, match="third/kettle burst failed; the reason is in its log") as caught:
            await kettle.call("burst")
        assert str(caught.value.__cause__) == "scalding"
        with pytest.raises(NotFound, match="no water"):
            await kettle.call("empty")

    with caplog.at_level(logging.ERROR):
        run(test)
    assert "scalding" in caplog.text


def test_a_stream_flows_as_far_as_its_credit_and_can_be_closed() -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        assert [item async for item in kettle.stream("drops", 100)] == list(range(100))
        kettle.component.closed = False
        drops = kettle.stream("drops", 1000)
        assert await anext(drops) == 0
        await drops.aclose()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert kettle.component.closed

    run(test)


def test_uploads_and_both_at_once() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"ab"

    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise OSError("the tap is broken")

    async def test(kettle: ComponentUnderTest) -> None:
        assert await kettle.upload("fill", b"x" * 200_000) == 200_000
        assert await kettle.upload("fill", parts()) == 200
        assert [item async for item in kettle.exchange("filter", parts())] == [b"AB"] * 100
        with pytest.raises(OSError, match="the tap is broken"):
            await kettle.upload("fill", broken())
        with pytest.raises(InvalidArgument, match="missing parameter: water"):
            await kettle.call("fill")

    run(test)


def test_a_subscription_begins_at_once() -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        events = kettle.subscribe("boiled")
        await kettle.call("boil", 3)
        await kettle.call("boil", 4)
        assert [await anext(events), await anext(events)] == [3, 7]
        await events.aclose()

    run(test)


def test_peers_are_objects_or_components_and_their_calls_are_kept() -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        assert await kettle.call("kernel") == "6.1 True"
        assert await kettle.call("others") == [0, 10, 20]
        assert await kettle.call("send", b"12345") == 5
        assert kettle.sent[0] == Sent("primary/kernel", "uname", [], {"verbose": True})

    run(test, peers={"primary/kernel": FakeKernel(), "third/taps": Taps()})


def test_a_peer_that_the_test_does_not_give_is_denied() -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        with pytest.raises(Denied, match=r"the test gives no peer primary/kernel: add it to `peers`"):
            await kettle.call("kernel")

    run(test)


def test_a_fault_of_a_peer_fails_the_test_even_if_the_component_swallows_it() -> None:
    def uname(verbose: bool) -> None:
        raise AssertionError(f"asked with {verbose}")

    async def test(kettle: ComponentUnderTest) -> None:
        with pytest.raises(CallError):
            await kettle.call("kernel")

    with pytest.raises(AssertionError, match="asked with True"):
        run(test, peers={"primary/kernel": {"uname": uname}})


def test_a_call_that_does_not_end_meets_its_deadline() -> None:
    async def test(kettle: ComponentUnderTest) -> None:
        with pytest.raises(DeadlineExceeded, match="did not answer within"):
            await kettle.call("wait", timeout_s=0.01)

    run(test)


def test_the_same_without_coroutines(tmp_path: Path) -> None:
    with running_sync(Kettle, state=tmp_path, peers={"primary/kernel": FakeKernel()}) as kettle:
        events = kettle.subscribe("boiled")
        assert kettle.call("boil", 3).startswith("3 min")
        assert next(events) == 3
        assert list(kettle.stream("drops", 40)) == list(range(40))
        assert kettle.upload("fill", b"abc") == 3
        assert list(kettle.exchange("filter", b"abc")) == [b"ABC"]
        assert kettle.call("kernel") == "6.1 True"
        events.close()


def test_what_a_test_without_coroutines_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError), running_sync(Kettle):
        raise ZeroDivisionError


def test_what_is_no_component_is_refused() -> None:
    with pytest.raises(MisuseError, match=r"running takes a class of Component"):
        asyncio.run(running(FakeKernel).__aenter__())  # type: ignore[arg-type]


class Pumping(Component):
    """Has a task that ends."""

    async def start(self) -> None:
        self.spawn(self._fill(), name="filling")

    async def _fill(self) -> None:
        raise OSError("broken pipe")

    @handler
    async def ask(self) -> None: ...


def test_a_task_that_ends_the_component_fails_the_test() -> None:
    async def main() -> None:
        async with running(Pumping) as pumping:
            await pumping.call("ask")

    with pytest.raises(RuntimeError, match="the component has failed: task filling has ended with OSError: broken"):
        asyncio.run(main())


class Leaves(Component):
    """Fails as it starts or stops, with a database open and a task that runs."""

    class Options:
        fails: str

    db = database(steps=["create table notes (text text)"])

    async def start(self) -> None:
        self.spawn(self.wait)
        if self.options.fails == "start":
            raise ValueError("start")

    async def wait(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        if self.options.fails == "stop":
            raise ValueError("stop")


@pytest.mark.parametrize("fails", ["start", "stop"])
def test_one_that_fails_leaves_nothing_behind(tmp_path: Path, fails: str) -> None:
    async def test() -> None:
        before = set(threading.enumerate())
        for _ in range(2):  # the second time the database is not locked
            with pytest.raises(ValueError, match=fails):
                async with running(Leaves, options={"fails": fails}, state=tmp_path):
                    await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
        for thread in set(threading.enumerate()) - before:
            thread.join(2.0)
            assert not thread.is_alive()
        async with running(Leaves, options={"fails": ""}, state=tmp_path) as it:
            assert await it.component.db.check() is None

    asyncio.run(test())
