"""Handlers that await nothing are run where their requests are read: in order, each for itself, within all bounds."""

from __future__ import annotations

import asyncio
import dataclasses
import types
from collections.abc import Generator
from typing import Any

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt import Component, handler
from tlsrt.channels.frames.frame import BATCH_FRAME_MAX, BUNDLE_MAX, FrameKind
from tlsrt.errors import Conflict, Failed, InvalidArgument
from tlsrt.loops.dispatch.call_figures import CallFigures


class Book(Component):
    """Notes what it is asked, and by whom."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    @handler
    async def note(self, word: str, times: int = 1) -> str:
        self.noted.append(word * times)
        if word == "bad":
            raise Conflict(word)
        return f"{word} of {self.caller}"

    @handler
    async def blank(self, size: int) -> bytes:
        return bytes(size)


@types.coroutine
def _suspended() -> Generator[None, None, None]:
    yield


class Liar(Component):
    """Has a method that suspends and is taken for one that does not."""

    @handler
    async def wait(self, word: str) -> str:
        if word != "now":
            await _suspended()
        return word


Liar.__tlsrt_methods__ = {"wait": dataclasses.replace(Liar.__tlsrt_methods__["wait"], immediate=True)}


async def _all(wired: LinkedComponents, *calls: tuple[tuple[Any, ...], dict[str, Any], str | None]) -> list[Any]:
    caller = wired.hosts[CONSOLE].caller
    asked = [caller.call(STORE, "note", args, names, idempotency_key=key) for args, names, key in calls]
    return await asyncio.gather(*asked, return_exceptions=True)


def test_requests_of_a_bundle_run_in_order_whatever_their_form() -> None:
    async def test(wired: LinkedComponents) -> None:
        found = await _all(
            wired, (("first",), {}, None), (("a",), {}, None), (("b",), {"times": 2}, None), (("key",), {}, "k"),
            (("bad",), {}, None), ((7,), {}, None), (("c", 3), {}, None), ((), {}, None), (("key",), {}, "k"),
        )  # fmt: skip
        ended = [type(end) if isinstance(end, Exception) else end for end in found]
        by = f" of {CONSOLE}"
        assert ended == [
            "first" + by, "a" + by, "b" + by, "key" + by, Conflict, InvalidArgument, "c" + by, InvalidArgument,
            "key" + by,
        ]  # fmt: skip
        assert str(found[5]) == "word: expected str, got int" and str(found[7]) == "missing parameter: word"
        # One with a key may be put off, so it has a task, and that runs when the bundle has been read.
        assert wired.store.noted == ["first", "a", "bb", "bad", "ccc", "key"]
        assert FrameKind.REQUESTS in wired.kinds

    assert not run(test, Book).refused


@pytest.mark.parametrize("size", [1, 200, 600, BATCH_FRAME_MAX - 3, BATCH_FRAME_MAX])
def test_replies_of_a_bundle_share_frames_within_their_bounds(size: int) -> None:
    async def test(wired: LinkedComponents) -> None:
        count = BUNDLE_MAX + 20
        found = await asyncio.gather(*(wired.call("blank", size) for _ in range(count)))
        assert list(found) == [bytes(size)] * count
        counts = [n for kind, n in zip(wired.kinds, wired.counts, strict=True) if kind == FrameKind.REPLIES]
        assert all(n <= BUNDLE_MAX for n in counts)
        assert bool(counts) == (size < BATCH_FRAME_MAX)
        if size <= 600:
            assert max(counts) == BUNDLE_MAX

    run(test, Book)


def test_a_method_that_was_taken_for_another_kind_fails_alone() -> None:
    async def test(wired: LinkedComponents) -> None:
        words = ["x", "x", "now", "x", "now"]
        found = await asyncio.gather(*(wired.call("wait", word) for word in words), return_exceptions=True)
        assert [end if isinstance(end, str) else type(end) for end in found] == [Failed, Failed, "now", Failed, "now"]

    run(test, Liar)


def test_each_call_of_a_bundle_is_measured_once() -> None:
    async def test(wired: LinkedComponents) -> None:
        figures = CallFigures({"note"})
        immediate = wired.hosts[STORE].responder._immediate
        immediate._figures = figures
        await _all(wired, *[((word,), {}, None) for word in ("alone", "a", "bad", "b", "bad")])
        ((method, good, failed, _),) = figures.rows()
        assert (method, good, failed) == ("note", 3, 2)

    run(test, Book)
