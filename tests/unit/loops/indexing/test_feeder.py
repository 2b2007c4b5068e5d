"""The feeder of an index: it compares, puts and removes; an index that fails, lies or forgets is compared again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from tlsrt import Busy, CallError, Failed, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.indexing.feeder import SEARCH, Feeder, Place, part_of, remove_parts


class HeldIndex:
    """`secondary/search` as far as a feeder asks it: what it holds, and errors that it is to answer with."""

    address = "third/files"
    log = logging.getLogger("index")

    def __init__(self) -> None:
        self.held: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.errors: list[CallError] = []
        self.done: list[tuple[str, ...]] = []
        self.answer: Any = {"hits": []}

    async def call(self, target: str, method: str, *args: Any, timeout_s: float = 30.0) -> Any:
        assert target == SEARCH
        self._fail()
        match method, args:
            case "sources", (after, limit, space):
                names = sorted(one for one in self.held.get(space, {}) if one > after)[:limit]
                return [{"name": one, "mark": self.held[space][one][0]} for one in names]
            case "remove", (name, space):
                self.done.append(("remove", name))
                if self.held[space].pop(name, None) is None:
                    raise NotFound("no source")
                if not self.held[space]:
                    del self.held[space]
                return None
            case "parts", ():
                return [one.partition(":")[2] for one in sorted(self.held)]
            case "search", (_, _, None, _):
                return self.answer
        raise AssertionError(method)

    async def upload(self, target: str, method: str, data: bytes, *args: Any, timeout_s: float = 300.0) -> Any:
        assert (target, method) == (SEARCH, "add_file")
        self._fail()
        name, _, space, mark = args
        self.done.append(("add", name))
        self.held.setdefault(space, {})[name] = mark, data

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


class HeldTexts:
    """Texts by name; a text of None is none."""

    def __init__(self, **texts: bytes | None) -> None:
        self.texts = texts

    async def marks(self) -> Mapping[str, str]:
        return {name: str(text) for name, text in self.texts.items()}

    async def text(self, name: str) -> tuple[str, bytes] | None:
        found = self.texts.get(name)
        return None if found is None else (str(found), found)


def feeder(index: HeldIndex, texts: HeldTexts) -> Feeder:
    return Feeder(index, "work", "file", texts, asyncio.Lock())


def held(index: HeldIndex) -> dict[str, bytes]:
    return {name: text for name, (_, text) in index.held.get("third/files:work", {}).items()}


def test_it_puts_what_is_new_or_other_removes_what_is_gone_and_does_nothing_twice() -> None:
    index, texts = HeldIndex(), HeldTexts(a=b"one", b=b"two", c=None, d=b" \n")
    one = feeder(index, texts)

    async def work() -> None:
        assert one.is_behind and await one.once() and not one.is_behind
        assert held(index) == {"a": b"one", "b": b"two"} and one.left_out == 2
        index.done.clear()
        one.change()
        assert one.is_behind and await one.once()
        assert index.done == []
        texts.texts = {"a": b"other", "c": None}
        one.change()
        assert await one.once()
        assert index.done == [("remove", "b"), ("add", "a")] and held(index) == {"a": b"other"}

    asyncio.run(work())


def test_a_new_process_goes_on_from_what_the_index_holds() -> None:
    index, texts = HeldIndex(), HeldTexts(**{f"n{number:04}": b"x" for number in range(1203)})
    asyncio.run(feeder(index, texts).once())
    index.done.clear()
    texts.texts["n0007"] = b"y"
    del texts.texts["n1202"]
    asyncio.run(feeder(index, texts).once())
    assert index.done == [("remove", "n1202"), ("add", "n0007")]


@pytest.mark.parametrize("error", [Unavailable("away"), Busy("busy"), Failed("full")])
@pytest.mark.parametrize("at", range(4))
def test_an_error_at_any_call_is_trouble_until_the_next_comparison(error: CallError, at: int) -> None:
    index, texts = HeldIndex(), HeldTexts(a=b"one", b=b"two")
    index.held["third/files:work"] = {"old": ("m", b"old")}
    one = feeder(index, texts)

    async def work() -> None:
        index.errors = [*[None] * at, error]  # type: ignore[list-item]
        index._fail = lambda: fail(index)  # type: ignore[method-assign]
        assert not await one.once() and one.is_behind and one.trouble == error.message
        assert await one.once() and one.trouble is None and not one.is_behind

    asyncio.run(work())
    assert held(index) == {"a": b"one", "b": b"two"}


def fail(index: HeldIndex) -> None:
    error = index.errors.pop(0) if index.errors else None
    if error is not None:
        raise error


def test_what_the_index_refuses_is_left_out_until_it_is_another_text() -> None:
    index, texts = HeldIndex(), HeldTexts(a=b"one")
    one = feeder(index, texts)

    async def work() -> None:
        assert await one.once()
        texts.texts["a"] = b"two"
        one.change()
        index.errors = [InvalidArgument("4000 passages")]
        assert await one.once() and held(index) == {} and one.left_out == 1
        index.done.clear()
        one.change()
        assert await one.once() and index.done == []
        one.forget_refused()
        assert await one.once() and held(index) == {"a": b"two"} and one.left_out == 0

    asyncio.run(work())


def test_a_captured_index_names_no_text_that_is_not_of_the_part() -> None:
    index, texts = HeldIndex(), HeldTexts(a=b"one")
    one = feeder(index, texts)
    good = {"source": "a", "start": 1, "text": "ne", "score": 0.5}

    async def work() -> list[Place]:
        await one.once()
        index.answer = {"hits": [good, {**good, "source": "../own/safe"}, good]}
        assert await one.find("x", 2) == [Place("a", 1, 2, 0.5)], "no more than was asked for"
        for wrong in (None, {}, {"hits": 1}, {"hits": [1]}, {"hits": [{**good, "start": -1}]}):
            index.answer = wrong
            with pytest.raises(Failed):
                await one.find("x", 2)
        index.errors = [Failed("secret reason")]
        with pytest.raises(Unavailable, match="the index cannot be asked"):
            await one.find("x", 2)
        return []

    asyncio.run(work())


def test_a_flood_of_changes_is_one_comparison_after_each_pause() -> None:
    index, texts, pauses = HeldIndex(), HeldTexts(a=b"one"), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        for _ in range(1000):
            one.change()
        if len(pauses) == 3:
            raise asyncio.CancelledError

    one = Feeder(index, "work", "file", texts, asyncio.Lock(), pause=pause)

    async def work() -> None:
        task = asyncio.create_task(one.run())
        while len(pauses) < 3:
            one.change()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert index.done == [("add", "a")] and all(one >= 0.5 for one in pauses)


def test_parts_that_are_not_kept_are_removed() -> None:
    index = HeldIndex()
    index.held = {"third/files:work": {"a": ("m", b"x")}, "third/files:old": {"a": ("m", b"x"), "b": ("m", b"y")}}
    asyncio.run(remove_parts(index, {"work"}))
    assert [*index.held] == ["third/files:work"]


def test_parts_have_names_that_the_index_takes() -> None:
    assert part_of("work") == "work" and part_of("client/anna") == "client/anna"
    assert part_of("Work") != part_of("work ") and part_of("a:b").startswith("x-") and len(part_of("ä" * 200)) < 64
