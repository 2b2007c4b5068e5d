"""A component whose handlers raise and return whatever Python can, at once, after an await and in a stream."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from tlsrt import Component, handler
from tlsrt.errors import CallError, Conflict, NotFound


class Odd(BaseException):
    """What no one expects."""


class Mute(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Numbered(CallError):
    """An error of a component that was not careful."""

    def __init__(self) -> None:
        super().__init__(["a", "\ud800"], 7)  # type: ignore[arg-type]


def _deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(600):
        nested = [nested]
    return nested


def _cycle() -> list[Any]:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    return cycle


def _recurse(number: int = 0) -> int:
    return _recurse(number + 1) + 1


ERRORS: dict[str, Callable[[], BaseException]] = {
    "cancelled": asyncio.CancelledError,
    "closed": GeneratorExit,
    "group": lambda: BaseExceptionGroup("several", [Odd(), SystemExit(3)]),
    "odd": Odd,
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "stop": StopIteration,
    "stop async": StopAsyncIteration,
    "memory": MemoryError,
    "bug": lambda: ZeroDivisionError("a bug"),
    "surrogate bug": lambda: ValueError("\ud800"),
    "mute": Mute,
}
CALL_ERRORS: dict[str, tuple[Callable[[], CallError], str]] = {
    "surrogate": (lambda: NotFound("no \ud800 here"), "not_found"),
    "long": (lambda: Conflict("x" * 100_000), "conflict"),
    "numbered": (Numbered, "7"),
    "code": (lambda: CallError("text", "\udfff" * 100), "?" * 64),
}
RESULTS: dict[str, Callable[[], object]] = {
    "tuple as key": lambda: {(1, 2): 4},
    "number as key": lambda: {"a": [{1: 2}]},
    "surrogate": lambda: "\ud800",
    "surrogate as key": lambda: {"\ud800": 1},
    "object": object,
    "set": lambda: [{1, 2}],
    "deep": _deep,
    "cycle": _cycle,
    "large": lambda: b"x" * 300_000,
    "number": lambda: 1 << 64,
}


@dataclass(frozen=True)
class Checked:
    """A parameter whose check is code of the component."""

    name: str

    def __post_init__(self) -> None:
        if self.name:
            raise ERRORS[self.name]()


@dataclass(frozen=True)
class Answer:
    """A result that is made into a map."""

    held: Any


def _outcome(name: str) -> object:
    if name == "good":
        return name
    if name == "recursion":
        return _recurse()
    if name in CALL_ERRORS:
        raise CALL_ERRORS[name][0]()
    if name in ERRORS:
        raise ERRORS[name]()
    return RESULTS[name.removeprefix("result ")]()


class OddComponent(Component):
    """Its handlers take the name of what they are to do."""

    @handler
    async def at_once(self, name: str) -> Any:
        return _outcome(name)

    @handler
    async def later(self, name: str) -> Any:
        await asyncio.sleep(0)
        return _outcome(name)

    @handler
    async def items(self, name: str) -> AsyncIterator[Any]:
        yield "good"
        yield _outcome(name)

    @handler
    async def ends_badly(self, name: str) -> AsyncIterator[Any]:
        try:
            yield "good"
            yield "good"
        finally:
            _outcome(name)

    @handler
    async def checked(self, value: Checked) -> str:
        return value.name

    @handler
    async def checked_later(self, value: Checked) -> str:
        await asyncio.sleep(0)
        return value.name

    @handler
    async def checked_stream(self, value: Checked) -> AsyncIterator[str]:
        yield value.name

    @handler
    async def structured(self, name: str) -> Answer:
        return Answer(_outcome(name))

    @handler
    async def cancels_itself(self, name: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return name

    @handler
    async def exits_in_a_task(self) -> str:
        """Have a task of its own, and a callback, raise SystemExit."""

        async def leave() -> None:
            raise SystemExit(3)

        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.wait([asyncio.ensure_future(leave())])
        return "good"

    @handler
    async def compute(self) -> int:
        """Use the processor for 5 ms."""
        end = time.perf_counter() + 0.005
        while time.perf_counter() < end:
            pass
        return 5

    @handler
    async def compute_in_steps(self) -> int:
        """Use the processor for 5 ms, ten times, after an await each."""
        for _ in range(10):
            await asyncio.sleep(0)
            await self.compute()
        return 10

    @handler
    async def waits(self, name: str) -> str:
        await asyncio.sleep(3600)
        return name
