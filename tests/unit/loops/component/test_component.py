"""The component SDK as the runtime uses it: collection, binding, the caller, streams, uploads, built-in methods."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tlsrt.errors import CallError, Failed, InvalidArgument, MisuseError, NotFound
from tlsrt.loops.component.component import Component, attach, detach, handler
from tlsrt.loops.component.invocation import find_method, invoke


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


class Notes(Component):
    """Short notes."""

    topics = {"added": "the text of a new note"}  # noqa: RUF012

    def __init__(self) -> None:  # does not call super: the hub must be there all the same
        self.steps: list[str] = []
        self.closed = False

    @handler
    async def add(self, text: str, tags: list[str] = [], *, loud: bool = False) -> int:  # noqa: B006
        """Add a note."""
        tags.append("seen")
        self.publish("added", text)
        return len(tags) + int(loud)

    @handler(idempotent=True)
    async def who(self) -> str:
        await asyncio.sleep(0)
        return self.caller

    @handler
    async def count(self, to: int) -> AsyncIterator[str]:
        try:
            for number in range(to):
                yield f"{number} {self.caller}"
        finally:
            self.closed = True

    @handler
    async def store(self, name: str, data: AsyncIterator[bytes]) -> int:
        return sum([len(chunk) async for chunk in data])

    @handler
    async def mirror(self, point: Point) -> Point:
        return Point(point.y, point.x)

    @handler
    async def fail(self) -> None:
        raise Failed("no more paper")

    @handler
    async def remote(self) -> object:
        return await self.call("primary/kernel", "uname", 1, timeout_s=2.0, idempotency_key="k", deep=True)


class FakePort:
    """A Port that remembers what was asked."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    async def call(
        self,
        target: str,
        method: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        timeout_s: float,
        idempotency_key: str | None,
        wait_s: float | None = None,
    ) -> Any:
        self.calls.append((target, method, list(args), dict(kwargs), timeout_s, idempotency_key))
        return {"release": "6.18"}

    async def stream(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float
    ) -> AsyncIterator[Any]:
        self.calls.append((target, method, list(args), dict(kwargs), timeout_s))
        yield 1

    async def upload(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> Any:  # fmt: skip
        return [part async for part in parts]

    async def exchange(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> AsyncIterator[Any]:  # fmt: skip
        async for part in parts:
            yield part

    def fail(self, sentence: str) -> None:
        self.calls.append(sentence)


def notes(port: FakePort | None = None) -> Notes:
    component = Notes()
    log = logging.getLogger("notes")
    attach(component, address="third/notes", options={}, state=Path("/state"), log=log, port=port or FakePort())
    return component


def run(component: Component, method: str, *args: object, **kwargs: object) -> Any:
    async def once() -> object:
        return await cast("Awaitable[object]", invoke(component, method, args, kwargs, subject="client/admin"))

    return asyncio.run(once())


def test_calls_by_position_and_by_name() -> None:
    assert run(notes(), "add", "x", ["a"], loud=True) == 3
    assert run(notes(), "add", text="x") == 1


def test_default_list_is_fresh_for_every_call() -> None:
    component = notes()
    assert [run(component, "add", "x") for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ([], {}, "missing parameter: text"),
        ([1], {}, "text: expected str, got int"),
        (["x", ["a", "b", True]], {}, "tags[2]: expected str, got bool"),
        ([], {"txt": "x"}, "unknown parameter: txt (did you mean text?)"),
        ([], {"zzzzzz": "x"}, "unknown parameter: zzzzzz"),
        ([], {5: "x"}, "unknown parameter: 5"),
        ([], {"a\nb": "x"}, "unknown parameter: 'a\\nb'"),
        (["x", [], True], {}, "too many arguments: takes 2, got 3"),
        (["x"], {"text": "y"}, "text: given twice, by position and by name"),
        (["x"], {"loud": 1}, "loud: expected bool, got int"),
    ],
)
def test_wrong_arguments_name_the_parameter(args: list[object], kwargs: dict[Any, object], message: str) -> None:
    component = notes()
    with pytest.raises(InvalidArgument) as caught:
        invoke(component, "add", args, kwargs, subject="client/admin")
    assert caught.value.message == message


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="no method 'ad', did you mean 'add'"):
        invoke(notes(), "ad", [], {}, subject="client/admin")
    for name in ("start", "stop", "publish", "__init__", "call", "_subscribe", "x" * 100_000):
        with pytest.raises(NotFound) as caught:
            invoke(notes(), name, [], {}, subject="client/admin")
        assert len(caught.value.message) < 120


def test_caller_is_that_of_the_request_even_with_many_at_once() -> None:
    component = notes()

    async def ask(subject: str) -> object:
        return await cast("Awaitable[object]", invoke(component, "who", [], {}, subject=subject))

    async def all_at_once() -> list[object]:
        assert component.caller == ""
        answers = await asyncio.gather(*(ask(f"client/{number}") for number in range(20)))
        assert component.caller == ""
        return answers

    assert asyncio.run(all_at_once()) == [f"client/{number}" for number in range(20)]


def test_streams_know_their_caller_and_do_not_leak_it() -> None:
    component = notes()

    async def two() -> list[object]:
        first = cast("AsyncIterator[object]", invoke(component, "count", [2], {}, subject="client/a"))
        second = cast("AsyncIterator[object]", invoke(component, "count", [2], {}, subject="client/b"))
        found: list[object] = []
        for stream in (first, second, first, second):
            found.append(await anext(stream))
            assert component.caller == ""
        return found

    assert asyncio.run(two()) == ["0 client/a", "0 client/b", "1 client/a", "1 client/b"]


def test_closing_a_stream_early_ends_the_handler() -> None:
    component = notes()

    async def early() -> None:
        stream = cast("AsyncGenerator[object, None]", invoke(component, "count", [9], {}, subject="client/a"))
        await anext(stream)
        await stream.aclose()

    asyncio.run(early())
    assert component.closed


async def chunks(*parts: object) -> AsyncIterator[Any]:
    for part in parts:
        yield part


def test_upload_reaches_the_handler_as_a_stream() -> None:
    async def upload() -> object:
        work = invoke(notes(), "store", ["a"], {}, subject="client/a", upload=chunks(b"12", b"345"))
        return await cast("Awaitable[object]", work)

    assert find_method(notes(), "store").upload
    assert asyncio.run(upload()) == 5


def test_upload_of_anything_but_bytes_is_refused() -> None:
    async def upload() -> None:
        work = invoke(notes(), "store", ["a"], {}, subject="client/a", upload=chunks(b"12", "345"))
        with pytest.raises(InvalidArgument, match=r"data\[1\]: expected bytes, got str"):
            await cast("Awaitable[object]", work)

    asyncio.run(upload())
    with pytest.raises(InvalidArgument, match="missing parameter: data"):
        invoke(notes(), "store", ["a"], {}, subject="client/a")
    with pytest.raises(InvalidArgument, match="who takes no upload"):
        invoke(notes(), "who", [], {}, subject="client/a", upload=chunks())
    with pytest.raises(InvalidArgument, match="unknown parameter: data"):
        invoke(notes(), "store", ["a"], {"data": b"x"}, subject="client/a", upload=chunks())


def test_dataclasses_travel_as_maps() -> None:
    assert run(notes(), "mirror", {"x": 1, "y": 2}) == {"x": 2, "y": 1}
    with pytest.raises(InvalidArgument, match=r"^point\.x: missing$"):
        invoke(notes(), "mirror", [{"y": 1}], {}, subject="client/a")


def test_errors_of_the_handler_come_out_as_they_are() -> None:
    with pytest.raises(Failed, match="no more paper"):
        run(notes(), "fail")


def test_call_goes_through_the_port() -> None:
    port = FakePort()
    assert run(notes(port), "remote") == {"release": "6.18"}
    assert port.calls == [("primary/kernel", "uname", [1], {"deep": True}, 2.0, "k")]


def test_stream_and_subscribe_go_through_the_port() -> None:
    port = FakePort()
    component = notes(port)

    async def both() -> list[object]:
        first = [item async for item in component.stream("a/b", "watch", 1, timeout_s=3.0, deep=True)]
        return first + [item async for item in component.subscribe("a/b", "news")]

    assert asyncio.run(both()) == [1, 1]
    assert port.calls == [("a/b", "watch", [1], {"deep": True}, 3.0), ("a/b", "subscribe", ["news"], {}, 300.0)]


def test_subscribe_is_built_in_and_ends_at_detach() -> None:
    component = notes()

    async def follow() -> list[object]:
        events = cast("AsyncIterator[object]", invoke(component, "subscribe", ["added"], {}, subject="client/a"))
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        for text in ("x", "y"):
            await cast("Awaitable[object]", invoke(component, "add", [text], {}, subject="client/b"))
        detach(component)
        return [await first, *[event async for event in events]]

    assert asyncio.run(follow()) == ["x", "y"]


def test_declared_topics_are_the_only_ones() -> None:
    component = notes()

    async def follow() -> None:
        events = cast("AsyncIterator[object]", invoke(component, "subscribe", ["aded"], {}, subject="client/a"))
        with pytest.raises(NotFound, match="no topic 'aded', did you mean 'added'"):
            await anext(events)

    asyncio.run(follow())
    with pytest.raises(MisuseError, match="other"):
        component.publish("other", 1)


def test_inheritance_keeps_and_replaces_handlers() -> None:
    class Better(Notes):
        @handler
        async def who(self) -> str:
            return "better"

    assert run(Better(), "who") == "better"
    assert list(Better.__tlsrt_methods__) == list(Notes.__tlsrt_methods__)
    with pytest.raises(MisuseError, match=r"Worse\.who overrides a handler"):
        type("Worse", (Notes,), {"who": lambda self: 1})


async def _good(self: Component) -> None: ...


def _wrong(function: Any, name: str = "bad") -> None:
    type("Wrong", (Component,), {name: handler(function)})


async def _star(self: Component, *args: int) -> None: ...
async def _stars(self: Component, **more: int) -> None: ...
async def _bare(self: Component, text) -> None: ...  # type: ignore[no-untyped-def]
async def _no_return(self: Component, text: str): ...  # type: ignore[no-untyped-def]
async def _set(self: Component, text: set[str]) -> None: ...
async def _int_keys(self: Component, text: dict[int, str]) -> None: ...
async def _default(self: Component, text: str = 5) -> None: ...  # type: ignore[assignment]
async def _unknown(self: Component, text: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def _two_uploads(self: Component, one: AsyncIterator[bytes], two: AsyncIterator[bytes]) -> None: ...
async def _upload_first(self: Component, text: AsyncIterator[bytes], name: str) -> None: ...
async def _text_upload(self: Component, text: AsyncIterator[str]) -> None: ...
async def _positional(self: Component, text: str, /) -> None: ...
async def _iterator(self: Component) -> AsyncIterator[str]: ...  # type: ignore[empty-body]
def _plain(self: Component) -> None: ...


async def _yields(self: Component) -> int:  # type: ignore[misc]
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_star, "Wrong.bad, parameter args: *args and **kwargs"),
        (_stars, "Wrong.bad, parameter more: *args and **kwargs"),
        (_bare, "Wrong.bad, parameter text: has no annotation"),
        (_no_return, "Wrong.bad: has no return annotation"),
        (_set, "Wrong.bad, parameter text: unsupported type set"),
        (_int_keys, "Wrong.bad, parameter text: only dict[str, ...]"),
        (_default, "Wrong.bad, parameter text: its default is not of type str"),
        (_unknown, "Wrong.bad: cannot resolve its annotations"),
        (_two_uploads, "Wrong.bad, parameter one: an upload must be the last"),
        (_upload_first, "Wrong.bad, parameter text: an upload must be the last"),
        (_text_upload, "Wrong.bad, parameter text: an upload is a stream of bytes"),
        (_positional, "Wrong.bad, parameter text: positional-only"),
        (_iterator, "Wrong.bad: returns an AsyncIterator, so it must yield"),
        (_plain, "Wrong.bad: a handler must be `async def`"),
        (_yields, "Wrong.bad: yields, so it returns AsyncIterator"),
    ],
)
def test_wrong_use_is_told_when_the_class_is_made(function: Any, message: str) -> None:
    with pytest.raises(MisuseError) as caught:
        _wrong(function)
    assert caught.value.args[0].startswith(message)


@pytest.mark.parametrize(
    "name", ["subscribe", "describe", "call", "stream", "publish", "start", "caller", "state", "log"]
)
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(MisuseError, match=f"Wrong.{name}: the name is reserved"):
        _wrong(_good, name)


def test_private_names_and_other_decorators_are_refused() -> None:
    with pytest.raises(MisuseError, match="underscore"):
        _wrong(_good, "_hidden")
    with pytest.raises(MisuseError, match="plain method"):
        _wrong(staticmethod(_good))
    with pytest.raises(MisuseError, match="outermost"):
        handler(cast("Any", property(lambda self: 1)))


def test_every_public_error_can_pass_through() -> None:
    class Raising(Component):
        @handler
        async def go(self) -> None:
            raise CallError("someone was faster", code="conflict")

    with contextlib.suppress(CallError), pytest.raises(CallError) as caught:
        run(Raising(), "go")
    assert caught.value.code == "conflict"
